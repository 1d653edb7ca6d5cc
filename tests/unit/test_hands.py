"""What comes in on `down/`, and how commands are carried out: once, in order, and answered."""

import asyncio
import unittest

from loader import cbor
from node.core.command import Gate, Refused
from node.core.log import DEBUG, ERROR, INFO, Log
from node.tasks import command as task
from node.tasks import inbox
from node.tasks.command import Commands
from node.tasks.inbox import Inbox
from node.tasks.remote import Remote

if not hasattr(asyncio, "sleep_ms"):  # CPython

    async def _sleep_ms(ms):
        await asyncio.sleep(ms / 1000)

    asyncio.sleep_ms = _sleep_ms


class Storage:
    def __init__(self):
        self.files = {}
        self.short = 0  # how many writes there is no memory for

    def read(self, path):
        return self.files.get(path)

    def write_atomic(self, path, data):
        if self.short:
            self.short -= 1
            raise MemoryError()
        self.files[path] = bytes(data)


class Link:
    """The Connection as these tasks see it."""

    def __init__(self):
        self.handlers = {}
        self.sent = []
        self.full = 0
        self.unacknowledged = 0

    def subscribe(self, suffix, handler):
        self.handlers[suffix] = handler

    def publish(self, suffix, payload, qos=1, retain=False, token=0):
        if self.full:
            self.full -= 1
            return False
        self.sent.append((suffix, bytes(payload)))
        return True

    def idle(self):
        self.unacknowledged -= 1
        return self.unacknowledged < 0


def beat():
    pass


class TestInbox(unittest.TestCase):
    def setUp(self):
        self.link = Link()
        self.log = Log(lambda: 0)
        self.opened = []
        self.handled = []
        self.closed = 0
        self.short = self.greed = 0
        inbox._MEMORY_MS = 1
        self.inbox = Inbox(self.link, (self.open, self.close), self.log)

    def open(self, kind):
        if self.short:
            self.short -= 1
            raise MemoryError()
        self.opened.append(kind)
        return self

    def close(self, hands):
        self.closed += 1

    async def handle(self, payload, beat):
        self.handled.append(payload)
        if payload == b"greedy":
            raise MemoryError()
        if payload == b"busy" and self.greed:
            self.greed -= 1
            raise MemoryError()

    def arrive(self, kind, payload):
        self.link.handlers[kind](memoryview(payload))

    def run_until_idle(self):
        async def run():
            running = asyncio.create_task(self.inbox.run(beat))
            while not self.inbox.idle:
                await asyncio.sleep_ms(5)
            running.cancel()
            try:
                await running
            except asyncio.CancelledError:
                pass

        asyncio.run(run())

    def test_waits_until_it_may(self):
        asked = []

        def may():
            asked.append(len(self.opened))
            return len(asked) > 3

        self.inbox.may = may
        self.arrive("command", b"one")
        self.run_until_idle()
        self.assertEqual(asked, [0, 0, 0, 0])
        self.assertEqual(self.handled, [b"one"])

    def test_each_kind_gets_its_hands_once(self):
        for kind, payload in (
            ("command", b"1"),
            ("command", b"2"),
            ("desired", b"3"),
            ("command", b"4"),
        ):
            self.arrive(kind, payload)
        self.assertFalse(self.inbox.idle)
        self.run_until_idle()
        self.assertEqual(self.opened, ["command", "desired", "command"])
        self.assertEqual(self.handled, [b"1", b"2", b"3", b"4"])
        self.assertEqual(self.closed, 3)

    def test_the_queue_is_bounded(self):
        for number in range(9):
            self.arrive("command", b"%d" % number)
        self.run_until_idle()
        self.assertEqual(len(self.handled), 6)
        self.assertIn(b"queue full", self.log.tail(1000))

    def test_what_takes_too_much_memory_does_not_end_the_task(self):
        self.arrive("desired", b"greedy")
        self.arrive("certificate", b"next")
        self.run_until_idle()
        self.assertEqual(self.handled, [b"greedy"] * 6 + [b"next"])
        self.assertEqual(self.closed, 7)
        self.assertIn(b"given up", self.log.tail(1000))

    def test_what_finds_no_memory_is_tried_again_and_a_command_is_not(self):
        self.greed = 2
        self.arrive("certificate", b"busy")
        self.arrive("command", b"greedy")
        self.arrive("command", b"last")
        self.run_until_idle()
        self.assertEqual(self.handled, [b"busy", b"busy", b"busy", b"greedy", b"last"])


class TestCommands(unittest.TestCase):
    def setUp(self):
        self.link = Link()
        self.storage = Storage()
        self.log = Log(lambda: 1000)
        self.now_s = 100
        self.ran = []
        task._MEMORY_MS = 1
        self.again()

    def again(self):
        """After a reset: flash is what there is."""
        gate = Gate(self.storage, "/ids", 1)
        self.commands = Commands(self.link, gate, lambda: 0, lambda: self.now_s, self.log)
        self.commands.register("do", self.do)
        self.commands.register("refuse", self.refuse)
        self.commands.register("fail", self.go_wrong)
        self.commands.register("die", self.die)

    async def do(self, command):
        self.ran.append(command.id)
        return {"n": command.args.get("n", 0)}

    async def refuse(self, command):
        raise Refused("bad_argument")

    async def go_wrong(self, command):
        raise OSError(5)

    async def die(self, command):
        self.ran.append(command.id)
        raise SystemExit()

    def send(self, command_id, verb, **more):
        fields = {"id": command_id, "cmd": verb}
        fields.update(more)
        asyncio.run(self.commands.handle(cbor.encode(fields), beat))
        return cbor.decode(self.link.sent[-1][1]) if self.link.sent else None

    def test_answers(self):
        self.assertEqual(
            self.send("1", "do", args={"n": 7}),
            {"id": "1", "ok": True, "code": "ok", "r": {"n": 7}},
        )
        self.assertEqual(self.send("2", "refuse")["code"], "bad_argument")
        self.assertEqual(self.send("3", "fail")["code"], "failed")
        self.assertEqual(self.send("4", "unheard-of")["code"], "unknown_command")
        self.assertEqual(self.send("1", "do")["r"], {"was": "ok"})
        self.assertEqual(self.send("5", "do", exp=99)["code"], "expired")
        self.assertEqual(self.ran, ["1"])

    def test_a_reset_in_the_middle_is_the_end_of_a_command(self):
        with self.assertRaises(SystemExit):
            self.send("1", "die")
        self.again()
        self.assertEqual(self.send("1", "die")["code"], "interrupted")
        self.assertEqual(self.ran, ["1"])

    def test_memory_comes_back(self):
        self.storage.short = 2
        self.assertTrue(self.send("1", "do")["ok"])
        self.assertEqual(self.ran, ["1"])

    def test_a_full_window_is_waited_for(self):
        self.link.full = 3
        self.assertTrue(self.send("1", "do")["ok"])

    def test_what_follows_an_answer_waits_for_the_broker(self):
        done = []

        async def leave(command):
            self.commands.after_reply(lambda: done.append(self.link.unacknowledged))
            return {}

        self.commands.register("leave", leave)
        self.link.unacknowledged = 2
        self.send("1", "leave")
        self.assertEqual(done, [-1])
        self.send("2", "do")
        self.assertEqual(len(done), 1)


class Node:
    def __init__(self, link, log):
        self.connection = link
        self.log = log


class TestLogPull(unittest.TestCase):
    def setUp(self):
        self.link = Link()
        self.log = Log(lambda: 3000, 4096, None, DEBUG)
        self.pulls = 0
        gate = Gate(Storage(), "/ids", 1)
        self.commands = Commands(self.link, gate, lambda: 0, lambda: None, self.log)
        Remote(Node(self.link, self.log)).register(self.commands)

    def pull(self, **args):
        self.pulls += 1
        payload = cbor.encode({"id": str(self.pulls), "cmd": "log-pull", "args": args})
        asyncio.run(self.commands.handle(payload, beat))
        lines = b"".join([text for suffix, text in self.link.sent if suffix == "log"])
        answer = cbor.decode(self.link.sent[-1][1])
        self.link.sent.clear()
        return answer, lines

    def test_levels(self):
        self.log.add(DEBUG, "noise")
        self.log.add(ERROR, "trouble W here")
        answer, text = self.pull(level=2)
        self.assertEqual(text, b"3 E trouble W here\n")
        self.assertEqual(answer["r"], {"bytes": len(text), "dropped": 0})

    def test_pieces_of_whole_lines(self):
        for number in range(40):
            self.log.add(INFO, "line %d " % number + "x" * 60)
        self.link.full = 2
        answer, text = self.pull(bytes=2500)
        self.assertTrue(2400 < len(text) <= 2500)
        self.assertTrue(text.startswith(b"3 I line "))
        self.assertIn(b"command: log-pull", text)

    def test_limits(self):
        for args in ({"bytes": 0}, {"bytes": 4097}, {"level": 4}, {"bytes": True}):
            self.assertEqual(self.pull(**args)[0]["code"], "bad_argument")
