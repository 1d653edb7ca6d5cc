"""The health contract of a trial."""

import unittest

from node.core.health import FAILED, HEALTHY, WAITING, HealthContract

TERMS = {"connected": True, "publishes": 2, "heap_floor": 1000, "deadline_s": 60}


class TestHealth(unittest.TestCase):
    def test_all_terms_met(self):
        self.assertEqual(HealthContract(TERMS).judge(True, 2, 1000, 0), HEALTHY)

    def test_each_term_is_needed(self):
        contract = HealthContract(TERMS)
        for facts, why in (
            ((False, 2, 1000), "not connected"),
            ((True, 1, 1000), "1 of 2 publishes acknowledged"),
            ((True, 2, 999), "heap 999 below its floor 1000"),
        ):
            self.assertEqual(contract.judge(facts[0], facts[1], facts[2], 59999), WAITING)
            self.assertEqual(contract.why, why)
            self.assertEqual(contract.judge(facts[0], facts[1], facts[2], 60000), FAILED)

    def test_healthy_at_the_deadline_is_healthy(self):
        self.assertEqual(HealthContract(TERMS).judge(True, 5, 5000, 60000), HEALTHY)

    def test_hostile_terms_are_bounded(self):
        contract = HealthContract({"deadline_s": 0, "publishes": "many", "heap_floor": -5})
        self.assertEqual(contract.deadline_ms, 5000)
        self.assertEqual((contract.publishes, contract.heap_floor), (1, 0))
