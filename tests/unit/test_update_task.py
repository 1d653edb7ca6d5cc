"""The update task and its carrier: whose turn it is, which connection is kept, and what the
broker's session does.
"""

import asyncio
import gc
import unittest

from memory_server import Server
from node.core.errors import LinkError
from node.core.fetch import Fetch
from node.tasks.download import Carrier, Download
from node.tasks.update import Ports, UpdateTask

if not hasattr(asyncio, "sleep_ms"):  # CPython

    async def _sleep_ms(ms):
        await asyncio.sleep(ms / 1000)

    asyncio.sleep_ms = _sleep_ms
if not hasattr(gc, "threshold"):  # CPython, whatever other tests have made of asyncio
    gc.threshold = lambda *_: -1


async def _no_wait(ms):
    await asyncio.sleep(0)


class Net:
    """Makes links to a server in memory; `closes` after so many answers, `refuses` to open."""

    def __init__(self, resources):
        self.server = Server(resources)
        self.opened = []
        self.refuses = 0
        self.closes = 1000

    def link(self):
        return _Link(self)


class _Link:
    def __init__(self, net):
        self._net = net
        self._answers = 0
        self._waiting = b""
        self._ended = False

    async def open(self, host, port, tls, timeout_ms):
        if self._net.refuses:
            self._net.refuses -= 1
            raise LinkError("refused")
        self._net.opened.append((host, port, tls))

    async def start(self, buf, off, size):
        return self.send(buf, off, size)

    def send(self, buf, off, size):
        if self._answers >= self._net.closes:
            self._ended = True
        else:
            self._answers += 1
            self._waiting = self._net.server.answer(bytes(buf[off : off + size]))
        return size

    def recv_into(self, buf):
        if self._ended:
            return 0
        if not self._waiting:
            return None
        size = min(len(buf), len(self._waiting), 37)
        buf[:size] = self._waiting[:size]
        self._waiting = self._waiting[size:]
        return size

    def close(self):
        self._net.opened.append("closed")


def ports(net):
    return Ports(net.link, _Clock().uptime_ms, lambda limit: 0, lambda: None)


class _Clock:
    now_ms = 0

    def uptime_ms(self):
        self.now_ms += 10
        return self.now_ms


def _beat():
    pass


class TestCarrier(unittest.TestCase):
    def setUp(self):
        self._sleep_ms = asyncio.sleep_ms
        asyncio.sleep_ms = _no_wait
        self.net = Net({"/x": b"x" * 3000, "/y": b"y" * 10})

    def tearDown(self):
        asyncio.sleep_ms = self._sleep_ms

    def fetch(self, carrier, url):
        fetch = Fetch(0, -1, 5000)
        fetch.url = url
        got = bytearray()
        fetch.sink = got.extend
        asyncio.run(carrier.fetch(fetch, _beat))
        return fetch, bytes(got)

    def test_one_connection_for_all(self):
        carrier = Carrier(ports(self.net))
        self.assertEqual(self.fetch(carrier, "http://h/x")[1], b"x" * 3000)
        self.assertEqual(self.fetch(carrier, "http://h/y")[1], b"y" * 10)
        self.assertEqual(self.net.opened, [("h", 80, None)])

    def test_another_server(self):
        carrier = Carrier(ports(self.net))
        self.fetch(carrier, "http://h/x")
        self.fetch(carrier, "http://i:81/y")
        self.assertEqual(self.net.opened, [("h", 80, None), "closed", ("i", 81, None)])

    def test_a_kept_connection_that_the_server_closed(self):
        self.net.closes = 1
        carrier = Carrier(ports(self.net))
        self.fetch(carrier, "http://h/x")
        fetch, got = self.fetch(carrier, "http://h/y")
        self.assertEqual((fetch.code, got), ("", b"y" * 10))

    def test_no_connection(self):
        self.net.refuses = 1
        fetch, _ = self.fetch(Carrier(ports(self.net)), "http://h/x")
        self.assertEqual((fetch.code, fetch.status), ("link", 0))

    def test_a_fresh_connection_that_closes_is_a_failure(self):
        self.net.closes = 0
        fetch, _ = self.fetch(Carrier(ports(self.net)), "http://h/x")
        self.assertEqual(fetch.code, "http-short")
        self.assertEqual(self.net.opened, [("h", 80, None), "closed"])

    def test_https_without_tls(self):
        fetch, _ = self.fetch(Carrier(ports(self.net)), "https://h/x")
        self.assertEqual(fetch.code, "link")

    def test_tls_is_for_https_only(self):
        given = ports(self.net)
        given.tls = "tls"
        carrier = Carrier(given)
        self.fetch(carrier, "https://h/x")
        self.fetch(carrier, "http://h/x")
        self.assertEqual(self.net.opened, [("h", 443, "tls"), "closed", ("h", 80, None)])


class _Updater:
    """Actions to carry out, then an outcome."""

    def __init__(self, actions, outcome):
        self.actions = actions
        self.outcome = outcome
        self.code = ""

    def run(self, now_s):
        for action in self.actions:
            if isinstance(action, Exception):
                raise action
            yield action


class _Connection:
    def __init__(self, story):
        self._story = story

    async def pause(self):
        self._story.append("pause")

    def resume(self):
        self._story.append("resume")


class TestTask(unittest.TestCase):
    def setUp(self):
        self._sleep_ms = asyncio.sleep_ms
        asyncio.sleep_ms = _no_wait
        self.story = []
        self.ports = ports(Net({}))
        self.ports.connection = _Connection(self.story)
        self.ports.depart = lambda: self.story.append("depart")
        self.ports.forget = lambda: self.story.append("forget")

    def tearDown(self):
        asyncio.sleep_ms = self._sleep_ms

    def task(self, updater, secure=True):
        def open_check():
            self.story.append("open")
            return Download(updater, self.ports)

        check = (open_check, lambda download: self.story.append("close"), secure)
        return UpdateTask(check, self.ports, 3600)

    def test_the_session_steps_aside_for_tls_and_comes_back(self):
        outcome = asyncio.run(self.task(_Updater([0, -1], "current")).check(_beat))
        self.assertEqual(outcome, "current")
        self.assertEqual(self.story, ["pause", "open", "forget", "close", "resume"])

    def test_and_stays_without(self):
        asyncio.run(self.task(_Updater([], "current"), False).check(_beat))
        self.assertEqual(self.story, ["open", "close"])

    def test_it_comes_back_whatever_happens(self):
        with self.assertRaises(ValueError):
            asyncio.run(self.task(_Updater([ValueError()], "")).check(_beat))
        self.assertEqual(self.story, ["pause", "open", "close", "resume"])

    def test_the_reset_waits_for_the_last_report(self):
        left = [3]

        def idle():
            left[0] -= 1
            return left[0] < 0

        self.ports.idle = idle
        asyncio.run(self.task(_Updater([], "new")).check(_beat))
        self.assertEqual(self.story[-2:], ["resume", "depart"])
        self.assertEqual(left, [-1])

    def test_but_not_for_ever(self):
        self.ports.idle = lambda: False
        asyncio.run(self.task(_Updater([], "new")).check(_beat))
        self.assertEqual(self.story[-1], "depart")

    def test_without_room_the_other_boot_checks_but_not_at_once(self):
        self.ports.room = lambda: False
        task = self.task(_Updater([], "current"))
        self.assertEqual(asyncio.run(task.check(_beat)), "blind")
        self.assertEqual(self.story, [])  # a device that starts need not reset for a look
        self.assertEqual(task._next_s(), 16200)
        asyncio.run(task.check(_beat))
        self.assertEqual(self.story, ["depart"])

    def test_without_room_an_update_that_was_cut_is_taken_up(self):
        self.ports.room = lambda: False
        self.ports.unfinished = True
        asyncio.run(self.task(_Updater([], "current")).check(_beat))
        self.assertEqual(self.story, ["depart"])

    def test_without_room_it_goes_at_once_when_asked(self):
        self.ports.room = lambda: False
        task = self.task(_Updater([], "current"))
        task.check_now()
        asyncio.run(task.check(_beat))
        self.assertEqual(self.story, ["depart"])

    def test_without_room_a_condition_keeps_it(self):
        self.ports.room = lambda: False
        self.ports.allowed = lambda: "battery-low"
        task = self.task(_Updater([], "current"))
        task.check_now()
        asyncio.run(task.check(_beat))
        self.assertEqual(self.story, [])

    def test_a_check_that_runs_out_of_memory_is_left_to_the_other_boot(self):
        updater = _Updater([], "failed")
        updater.code = "memory"
        task = self.task(updater, False)
        task.check_now()
        self.assertEqual(asyncio.run(task.check(_beat)), "blind")
        self.assertEqual(self.story, ["open", "close", "depart"])

    def test_a_failure_is_tried_again_sooner(self):
        task = self.task(_Updater([], "failed"))
        before = task._next_s()
        asyncio.run(task.check(_beat))
        self.assertEqual((before, task._next_s()), (2700, 225))

    def test_waits_are_jittered_and_beaten_through(self):
        beats = []
        self.ports.below = lambda limit: limit - 1
        task = self.task(_Updater([2000], "current"))
        asyncio.run(task.check(lambda: beats.append(1)))
        self.assertEqual(len(beats), 1 + 12)  # 2500 ms in steps of 200


if __name__ == "__main__":
    unittest.main()
