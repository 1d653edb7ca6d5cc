"""The reporter: state first, events in order until acknowledged, nothing for want of room."""

import unittest

from loader import cbor
from node.tasks.report import Reporter


class Link:
    """What a Connection is to its sources."""

    def __init__(self):
        self.sent = []
        self.slots = 8
        self.connected = True

    def add_source(self, source):
        self.source = source

    def room(self):
        return self.slots > 0

    def publish(self, suffix, payload, qos=1, retain=False, token=0):
        if not self.slots:
            return False
        self.slots -= 1
        self.sent.append((suffix, cbor.decode(payload), retain, token))
        return True


class Rig:
    def __init__(self):
        self.link = Link()
        self.short_of_memory = False
        self.asked = 0
        self.reporter = Reporter(self.link, self.facts, self.facts, self.stamp, 60)

    def facts(self):
        self.asked += 1
        if self.short_of_memory:
            raise MemoryError
        return {"on": True}

    def stamp(self):
        return {"boot": 3, "seq": 1, "up": 9}

    def pull(self):
        self.reporter.pull(self.link)
        return [suffix for suffix, _, _, _ in self.link.sent]


class TestReporter(unittest.TestCase):
    def test_the_state_goes_first_and_is_retained_events_follow(self):
        rig = Rig()
        rig.reporter.event("boot", {"a": 1})
        rig.reporter.event("update", {"s": "confirmed"})
        self.assertEqual(rig.pull(), ["state", "event", "event"])
        self.assertEqual([retain for _, _, retain, _ in rig.link.sent], [True, False, False])
        self.assertEqual(rig.link.sent[1][1]["t"], "boot")
        self.assertEqual(rig.pull(), ["state", "event", "event"])

    def test_an_event_stays_until_the_broker_has_it(self):
        rig = Rig()
        done = []
        rig.reporter.event("boot", {}, lambda: done.append(1))
        rig.pull()
        self.assertFalse(rig.reporter.idle)
        rig.reporter.forget_sent()  # the session did not survive
        self.assertEqual(rig.pull(), ["state", "event", "state", "event"])
        rig.reporter.acked(rig.link.sent[-1][3])
        self.assertEqual(done, [1])
        self.assertTrue(rig.reporter.idle)

    def test_no_room_on_the_link_asks_for_nothing(self):
        rig = Rig()
        rig.link.slots = 0
        rig.pull()
        self.assertEqual(rig.asked, 0)

    def test_want_of_memory_is_no_fault_of_the_link(self):
        rig = Rig()
        rig.short_of_memory = True
        rig.reporter.event("boot", {})
        self.assertEqual(rig.pull(), [])
        self.assertFalse(rig.reporter._told())
        rig.short_of_memory = False
        self.assertEqual(rig.pull(), ["state", "event"])
        self.assertTrue(rig.reporter._told())

    def test_the_oldest_event_gives_way(self):
        rig = Rig()
        for number in range(20):
            rig.reporter.event("e%d" % number, {})
        self.assertEqual(rig.reporter.dropped, 4)
        rig.link.slots = 20
        rig.pull()
        self.assertEqual(rig.link.sent[1][1]["t"], "e4")

    def test_an_event_too_long_for_the_window_says_so(self):
        rig = Rig()
        rig.reporter.event("log", {"text": "x" * 3000})
        rig.pull()
        self.assertTrue(rig.link.sent[1][1]["b"]["cut"] > 3000)


if __name__ == "__main__":
    unittest.main()
