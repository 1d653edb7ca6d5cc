"""One conversation of a sleeping node: what is begun in it is finished in it."""

import asyncio
import unittest

from node.tasks.courier import Courier
from node.tasks.wake import Budget

if not hasattr(asyncio, "sleep_ms"):  # CPython

    async def _sleep_ms(ms):
        await asyncio.sleep(ms / 1000)

    asyncio.sleep_ms = _sleep_ms


class Clock:
    """Runs ahead at each look: no test waits for it."""

    def __init__(self):
        self.now = 0

    def uptime_ms(self):
        self.now += 10
        return self.now


class Connection:
    """Tells what came while it was still listening."""

    def __init__(self):
        self.failures = self.received = 0
        self.hearing = True
        self.stopped = False
        self.heard_at_stop = None

    def idle(self):
        return True

    async def run(self, beat):
        while not self.stopped:
            await asyncio.sleep_ms(1)

    async def stop(self):
        self.heard_at_stop = self.hearing
        self.stopped = True


class Inbox:
    """A command takes `left` turns."""

    def __init__(self):
        self.left = 0
        self.done = 0

    @property
    def idle(self):
        return not self.left

    async def run(self, beat):
        while True:
            if self.left:
                self.left -= 1
                self.done += not self.left
            await asyncio.sleep_ms(1)


class TestCourier(unittest.TestCase):
    def play(self, goodbye, budget_ms=100000):
        clock = Clock()
        self.connection, self.inbox = Connection(), Inbox()
        budget = Budget(clock.uptime_ms, budget_ms)
        courier = Courier(self.connection, self.inbox, lambda: True, budget)
        return asyncio.run(courier.run(lambda: True, goodbye))

    def test_a_command_that_comes_during_the_goodbye_is_carried_out(self):
        async def goodbye():
            self.connection.received += 1
            self.inbox.left = 150

        self.assertTrue(self.play(goodbye))
        self.assertEqual(self.inbox.done, 1)

    def test_nothing_is_read_any_more_when_it_parts(self):
        async def goodbye():
            pass

        self.assertTrue(self.play(goodbye))
        self.assertIs(self.connection.heard_at_stop, False)

    def test_a_command_without_end_does_not_outlast_the_budget(self):
        async def goodbye():
            self.inbox.left = 1000000

        self.assertTrue(self.play(goodbye, 3000))
        self.assertTrue(self.connection.stopped)
        self.assertEqual(self.inbox.done, 0)

    def test_a_link_lost_in_the_goodbye_does_not_undo_the_delivery(self):
        async def goodbye():
            self.connection.failures = 1

        self.assertTrue(self.play(goodbye))
        self.assertTrue(self.connection.stopped)


if __name__ == "__main__":
    unittest.main()
