"""The power scheduler: budget, backoff, battery, and state that survives a sleep."""

import unittest

from loader.cbor import VerifyError
from node.core.schedule import STATE_BYTES, Plan, Scheduler

BASE = {
    "interval_s": 600,
    "connect_every": 24,
    "awake_ms": 20000,
    "sleep_ua": 10,
    "wake_uas": 20000,
    "connect_uas": 300000,
}


def plan(**fields):
    merged = dict(BASE)
    merged.update(fields)
    return Plan(merged)


def run(scheduler, wakes, ok=True, mv=None, queue=0):
    """Run this many wakes; return the indices of those that connected."""
    connected = []
    for n in range(wakes):
        decision = scheduler.decide(queue, mv, False)
        if decision.connect:
            connected.append(n)
            if ok:
                scheduler.connected(scheduler.connect_uas, -60)
            else:
                scheduler.failed(scheduler.connect_uas)
    return connected


class TestBudget(unittest.TestCase):
    def test_cold_start_says_hello(self):
        self.assertTrue(Scheduler(plan()).decide(0, None, False).connect)

    def test_says_again_how_long_to_sleep(self):
        """A boot that decides nothing, the one of a call, has to know it as well."""
        before = Scheduler(plan(capacity_mah=100, target_days=730))
        sleep_s = before.decide(0, None, False).sleep_s
        after = Scheduler(plan(capacity_mah=100, target_days=730), before.pack())
        self.assertEqual(after.interval_s(), sleep_s)
        self.assertGreater(sleep_s, 600)

    def test_no_budget_connects_every_wake(self):
        self.assertEqual(run(Scheduler(plan()), 5), [0, 1, 2, 3, 4])

    def test_smallest_k_that_fits(self):
        # 2000 mAh for 730 days: 114 uA. 104 uA of spare x 600 s = 62,400 - 20,000 a wake
        # leaves 42,400 uAs, and 300,000 / 42,400 needs k = 8.
        scheduler = Scheduler(plan(capacity_mah=2000, target_days=730))
        self.assertEqual(run(scheduler, 24), [0, 8, 16])
        self.assertEqual(scheduler.k, 8)

    def test_interval_is_stretched_only_when_no_k_fits(self):
        # 57 uA: 47 uA x 600 s = 28,200 - 20,000 leaves 8,200: k = 37 > 24. Doubled: 36,400: k = 9.
        scheduler = Scheduler(plan(capacity_mah=1000, target_days=730))
        decision = scheduler.decide(0, None, False)
        self.assertEqual((decision.sleep_s, scheduler.k), (1200, 9))

    def test_without_a_budget_the_pace_is_the_products(self):
        for publish_s, k in ((0, 1), (599, 1), (1800, 3), (2399, 3), (86400, 24)):
            scheduler = Scheduler(plan(publish_s=publish_s))
            self.assertEqual(scheduler.decide(0, None, False).sleep_s, 600)
            self.assertEqual(scheduler.k, k)
        scheduler = Scheduler(plan(publish_s=1800))
        self.assertEqual(run(scheduler, 9), [0, 3, 6])
        self.assertEqual(scheduler.next_s(), 1800)

    def test_the_next_connection_is_a_day_away_when_the_battery_is_nearly_empty(self):
        scheduler = Scheduler(plan(low_mv=3500, critical_mv=3300))
        scheduler.decide(0, 3700, False)
        self.assertEqual(scheduler.next_s(), 600)
        scheduler.decide(0, 3200, False)
        self.assertEqual(scheduler.next_s(), 86400)

    def test_a_dearer_connection_raises_k(self):
        scheduler = Scheduler(plan(capacity_mah=2000, target_days=730))
        for _ in range(200):
            if scheduler.decide(0, None, False).connect:
                scheduler.connected(600000, -60)
        self.assertTrue(scheduler.k > 12)

    def test_impossible_budget_is_bounded(self):
        scheduler = Scheduler(plan(capacity_mah=100, target_days=3650))
        decision = scheduler.decide(0, None, False)
        self.assertEqual((decision.sleep_s, scheduler.k), (4800, 24))


class TestReasons(unittest.TestCase):
    def settled(self, **fields):
        scheduler = Scheduler(plan(capacity_mah=2000, target_days=730, **fields))
        run(scheduler, 1)
        return scheduler

    def test_an_event_does_not_wait(self):
        scheduler = self.settled()
        self.assertFalse(scheduler.decide(0, None, False).connect)
        decision = scheduler.decide(0, None, True)
        self.assertEqual((decision.connect, decision.why), (True, "urgent"))

    def test_a_filling_queue_connects_early(self):
        self.assertEqual(self.settled().decide(800, None, False).why, "queue")

    def test_failures_back_off_across_sleeps_and_a_success_ends_it(self):
        scheduler = Scheduler(plan())
        attempts = run(scheduler, 400, ok=False)
        gaps = [b - a for a, b in zip(attempts, attempts[1:])]
        self.assertEqual(gaps[:5], [2, 4, 8, 16, 32])
        self.assertTrue(max(gaps) <= 144)  # never more than a day
        while not scheduler.decide(0, None, False).connect:
            pass
        scheduler.connected(300000, -60)
        self.assertEqual(run(scheduler, 3), [0, 1, 2])

    def test_an_event_does_not_defeat_the_backoff(self):
        scheduler = Scheduler(plan())
        run(scheduler, 8, ok=False)
        self.assertFalse(scheduler.decide(0, None, True).connect)

    def test_weak_signal_doubles_k(self):
        scheduler = self.settled()
        scheduler.rssi_dbm = -90
        scheduler.since_connect = 0
        due = [scheduler.decide(0, None, False).connect for _ in range(16)]
        self.assertEqual(due.index(True), 15)

    def test_low_battery_halves_the_budget(self):
        scheduler = self.settled(low_mv=3500)
        scheduler.decide(0, 3400, False)
        self.assertTrue(scheduler.k > 8)

    def test_critical_battery_connects_once_a_day(self):
        scheduler = Scheduler(plan(low_mv=3500, critical_mv=3300))
        run(scheduler, 1, mv=3700)
        # the interval is doubled to 1200 s: 72 wakes a day
        self.assertEqual(run(scheduler, 150, mv=3200), [71, 143])


class TestState(unittest.TestCase):
    def test_round_trip(self):
        one = Scheduler(plan(capacity_mah=2000, target_days=730))
        run(one, 5)
        state = one.pack()
        self.assertEqual(len(state), STATE_BYTES)
        two = Scheduler(one.plan, state)
        self.assertEqual(two.pack(), state)
        self.assertEqual(run(one, 20), run(two, 20))

    def test_foreign_state_is_refused(self):
        for state in (b"", b"\x01", b"\xff" * STATE_BYTES):
            with self.assertRaises(VerifyError):
                Scheduler(plan(), state)
