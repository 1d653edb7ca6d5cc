"""The supervisor: restarts, gives up, and starves the watchdog when a task hangs."""

import asyncio
import unittest

from node.core.log import Log
from node.tasks import supervise
from node.tasks.supervise import Fatal, Supervisor

if not hasattr(asyncio, "sleep_ms"):  # CPython

    async def _sleep_ms(ms):
        await asyncio.sleep(ms / 1000)

    asyncio.sleep_ms = _sleep_ms


class FakeTime:
    """Uptime that runs as fast as the loop asks: one call, one step."""

    def __init__(self, step_ms=0):
        self.now_ms = 0
        self.step_ms = step_ms

    def uptime_ms(self):
        self.now_ms += self.step_ms
        return self.now_ms


class FakeWatchdog:
    def __init__(self):
        self.feeds = 0

    def feed(self):
        self.feeds += 1


class Beating:
    beat_ms = 1000

    def __init__(self, supervisor=None, stop_after=3):
        self.supervisor = supervisor
        self.left = stop_after

    async def run(self, beat):
        while True:
            beat()
            self.left -= 1
            if self.left == 0 and self.supervisor is not None:
                self.supervisor.stop()
            await asyncio.sleep_ms(1)


class Failing:
    beat_ms = 1000000

    def __init__(self):
        self.starts = 0

    async def run(self, beat):
        self.starts += 1
        raise ValueError("broken part")


class Hanging:
    beat_ms = 50

    async def run(self, beat):
        beat()
        await asyncio.Event().wait()


class TestSupervisor(unittest.TestCase):
    def setUp(self):
        self.pause_ms, self.feed_ms = supervise._PAUSE_BASE_MS, supervise._FEED_MS
        supervise._PAUSE_BASE_MS = supervise._FEED_MS = 1

    def tearDown(self):
        supervise._PAUSE_BASE_MS, supervise._FEED_MS = self.pause_ms, self.feed_ms

    def make(self, step_ms=0):
        self.time = FakeTime(step_ms)
        self.log = Log(self.time.uptime_ms)
        self.watchdog = FakeWatchdog()
        return Supervisor(self.time.uptime_ms, self.log, self.watchdog)

    def test_feeds_while_all_beat_and_stops_when_told(self):
        supervisor = self.make()
        supervisor.add("ok", Beating(supervisor))
        asyncio.run(supervisor.run())
        self.assertTrue(self.watchdog.feeds > 0)

    def test_a_task_without_heartbeat_starves_the_watchdog(self):
        supervisor = self.make(step_ms=10)
        supervisor.add("hang", Hanging())
        supervisor.add("ok", Beating(supervisor, stop_after=40))
        asyncio.run(supervisor.run())
        self.assertEqual(supervisor.late(), "hang")
        fed = self.watchdog.feeds
        self.assertTrue(fed < 20)
        self.assertTrue(b"no heartbeat from hang" in self.log.tail(2048))

    def test_a_failing_task_is_restarted_then_fatal(self):
        supervisor = self.make()
        task = Failing()
        supervisor.add("bad", task)
        with self.assertRaises(Fatal):
            asyncio.run(supervisor.run())
        self.assertEqual(task.starts, 9)
        self.assertTrue(b"broken part" in self.log.tail(2048))
