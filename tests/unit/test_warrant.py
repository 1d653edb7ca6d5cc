"""What takes much memory is tried again when there is none, and nothing is done by halves."""

import asyncio
import unittest

from node.core.command import Refused
from node.parts import warrant

if not hasattr(asyncio, "sleep_ms"):  # CPython

    async def _sleep_ms(ms):
        await asyncio.sleep(ms / 1000)

    asyncio.sleep_ms = _sleep_ms


class Command:
    ops = None
    id = "c1"
    verb = "wipe"


class TestPatience(unittest.TestCase):
    def setUp(self):
        self.kept = warrant._WAITS, warrant._WAIT_MS
        warrant._WAITS, warrant._WAIT_MS = 2, 1
        self.tries = self.beats = 0

    def tearDown(self):
        warrant._WAITS, warrant._WAIT_MS = self.kept

    def beat(self):
        self.beats += 1

    def after(self, failures):
        def step():
            self.tries += 1
            if self.tries <= failures:
                raise MemoryError()
            return "done"

        return asyncio.run(warrant.patiently(step, self.beat))

    def test_at_once_when_there_is_memory(self):
        self.assertEqual(self.after(0), "done")
        self.assertEqual((self.tries, self.beats), (1, 0))

    def test_again_when_there_was_none_and_the_watchdog_is_fed_meanwhile(self):
        self.assertEqual(self.after(2), "done")
        self.assertEqual((self.tries, self.beats), (3, 4))

    def test_in_vain_in_the_end(self):
        with self.assertRaises(MemoryError):
            self.after(99)
        self.assertEqual(self.tries, warrant._PATIENCE)

    def test_without_a_document_it_is_refused_at_once(self):
        with self.assertRaises(Refused) as caught:
            asyncio.run(warrant.authorise(None, Command(), self.beat))
        self.assertEqual(caught.exception.code, "ops_missing")
