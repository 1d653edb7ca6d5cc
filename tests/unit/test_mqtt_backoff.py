"""Reconnecting: pauses grow, are spread, are capped, and shrink only after a stable connection;
a fleet that lost its broker does not come back all at once."""

import unittest

from node.core.mqtt.backoff import Backoff


class Random:
    """A small generator, so that both interpreters draw the same."""

    def __init__(self, seed):
        self._state = seed * 2654435761 & 0x3FFFFFFF | 1

    def below(self, limit):
        for _ in range(3):
            self._state = (self._state * 1103515245 + 12345) & 0x3FFFFFFF
        return (self._state >> 8) % limit


def longest(limit):
    return limit - 1


class Pauses(unittest.TestCase):
    def test_ceiling_doubles_to_the_cap(self):
        backoff = Backoff(longest, 1000, 60000, 30000)
        pauses = [backoff.next_ms() for _ in range(9)]
        self.assertEqual(pauses, [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000])

    def test_only_a_stable_connection_resets_it(self):
        backoff = Backoff(longest, 1000, 60000, 30000)
        for _ in range(5):
            backoff.next_ms()
            backoff.lasted(0)
            backoff.lasted(29999)
        self.assertEqual(backoff.next_ms(), 32000)
        backoff.lasted(30000)
        self.assertEqual(backoff.next_ms(), 1000)

    def test_jitter_is_full(self):
        random = Random(3)
        backoff = Backoff(random.below, 1000, 1000, 30000)
        pauses = [backoff.next_ms() for _ in range(400)]
        for tenth in range(10):
            inside = [p for p in pauses if tenth * 100 <= p < tenth * 100 + 100]
            self.assertGreater(len(inside), 15)


def arrivals(clients, outage_ms):
    """When each client knocks while the broker is down, and after: it lost the link at 0."""
    knocks = []
    back = []
    for seed in range(clients):
        backoff = Backoff(Random(seed + 1).below, 1000, 120000, 30000)
        backoff.lasted(3600000)
        now_ms = backoff.next_ms()
        while now_ms < outage_ms:
            knocks.append(now_ms)
            now_ms += backoff.next_ms()
        back.append(now_ms - outage_ms)
    return knocks, back


class Fleet(unittest.TestCase):
    """1,000 clients whose broker is away for a minute."""

    def test_arrivals_are_spread(self):
        knocks, back = arrivals(1000, 60000)
        self.assertEqual(len(back), 1000)
        busiest = 0
        for second in range(200):
            inside = [t for t in back if second * 1000 <= t < second * 1000 + 1000]
            busiest = max(busiest, len(inside))
        # without jitter all 1,000 come within the same second
        self.assertLess(busiest, 60)
        self.assertGreater(max(back), 30000)
        # and nobody is away for longer than the cap
        self.assertLess(max(back), 120001)

    def test_knocking_thins_out_while_the_broker_is_down(self):
        knocks, _ = arrivals(1000, 60000)
        first = len([t for t in knocks if t < 10000])
        last = len([t for t in knocks if t >= 50000])
        self.assertLess(last * 4, first)

    def test_without_jitter_this_test_fails(self):
        backoffs = [Backoff(longest, 1000, 120000, 30000) for _ in range(1000)]
        first = [backoff.next_ms() for backoff in backoffs]
        self.assertEqual(len(set(first)), 1)


if __name__ == "__main__":
    unittest.main()
