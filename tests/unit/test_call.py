"""When a sleeping device's call has room to carry something out: its readings go first, but a
backlog does not keep a command waiting for the whole of it.
"""

import sys
import unittest

from node.parts.call import Call

_BUDGET_MS = 20000
_RECORDS = "node.core.record"


class Budget:
    left = _BUDGET_MS

    def left_ms(self):
        return self.left


class Publisher:
    idle = False


class Connection:
    def __init__(self):
        self.sources = []

    def remove_source(self, source):
        self.sources.remove(source)


class Wake:
    budget_ms = _BUDGET_MS
    cold = roomy = False

    def __init__(self):
        self.box = self
        self.did = []

    def count(self):
        self.did.append("count")

    def save_box(self):
        self.did.append("save")


class Talking(Call):
    """In the middle of its conversation."""

    def __init__(self, roomy=False):
        self.wake = Wake()
        self.wake.roomy = roomy
        self.publisher = Publisher()
        self.connection = Connection()
        self.connection.sources.append(self.publisher)
        self.renew_s = None
        self._budget = Budget()
        self._told = False

    def unix_s(self):
        return None


class TestRoom(unittest.TestCase):
    def test_readings_go_first(self):
        call = Talking()
        self.assertFalse(call.has_told())
        call._budget.left = _BUDGET_MS // 2
        self.assertFalse(call.has_told())
        self.assertEqual(call.wake.did, [])

    def test_a_backlog_has_half_of_the_time(self):
        call = Talking()
        call._budget.left = _BUDGET_MS // 2 - 1
        self.assertTrue(call.has_told())
        self.assertEqual(call.connection.sources, [call.publisher])  # it goes on meanwhile
        self.assertEqual(call.wake.did, [])

    def test_then_the_outbox_goes_where_memory_is_short(self):
        call = Talking()
        kept = sys.modules.get(_RECORDS)
        sys.modules[_RECORDS] = sys.modules["unittest"]
        try:
            call.publisher.idle = True
            self.assertTrue(call.has_told())
            self.assertFalse(_RECORDS in sys.modules)
        finally:
            if kept is not None:
                sys.modules[_RECORDS] = kept
        self.assertEqual((call.publisher, call.connection.sources), (None, []))
        self.assertEqual((call.wake.did, call.wake.box), (["count", "save"], None))

    def test_and_stays_where_it_is_not(self):
        call = Talking(roomy=True)
        call.publisher.idle = True
        self.assertTrue(call.has_told())
        self.assertEqual((call.wake.did, call.connection.sources), ([], [call.publisher]))

    def test_once_told_it_is_told(self):
        call = Talking()
        call.publisher.idle = True
        self.assertTrue(call.has_told())
        call.publisher = Publisher()
        self.assertTrue(call.has_told())
