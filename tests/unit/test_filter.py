"""node.core.filter and anomaly: against plain definitions, at their edges, without allocation."""

import unittest

from node.core import quality
from node.core.anomaly import Anomaly
from node.core.config import FilterConfig
from node.core.filter import ChannelFilter, Deadband
from node.core.smooth import AdaptiveInterval, Hampel, Rate, Recent, Window


class Noise:
    """A reproducible sequence: the same on both interpreters."""

    def __init__(self, seed=1):
        self._state = seed

    def next(self, span):
        """-span..span, about triangular."""
        total = 0
        for _ in range(2):
            self._state = (self._state * 1103515245 + 12345) & 0x7FFFFFFF
            total += (self._state >> 8) % (span + 1)
        return total - span


class TestDeadband(unittest.TestCase):
    def test_reports_the_first_value_and_then_moves(self):
        band = Deadband(5, 0)
        reported = []
        for at, value in enumerate((10, 12, 14, 15, 16, 11, 10, 9)):
            if band.due(value, at * 1000):
                band.reported(value, at * 1000)
                reported.append(value)
        self.assertEqual(reported, [10, 15, 10])

    def test_reports_by_time_and_holds_back(self):
        band = Deadband(5, 10000, 3000)
        band.reported(10, 0)
        self.assertFalse(band.due(10, 9999))
        self.assertTrue(band.due(10, 10000))
        self.assertFalse(band.due(99, 2999))
        self.assertTrue(band.due(99, 3000))

    def test_a_slow_drift_is_not_lost(self):
        band = Deadband(10, 0)
        reported = []
        for value in range(101):
            if band.due(value, value):
                band.reported(value, value)
                reported.append(value)
        self.assertEqual(reported, list(range(0, 101, 10)))


class TestWindow(unittest.TestCase):
    def test_against_the_definition(self):
        noise = Noise(3)
        for offset in (0, -500, 500):
            window, values = Window(), []
            for _ in range(17):
                value = noise.next(300) + offset
                window.add(value)
                values.append(value)
            self.assertEqual(
                (window.low, window.high, window.count), (min(values), max(values), 17)
            )
            self.assertLess(abs(window.mean - sum(values) / 17), 0.5001)
            window.reset()
            window.add(-7)
            self.assertEqual((window.low, window.mean, window.high), (-7, -7, -7))

    def test_halves_go_away_from_zero(self):
        for values, mean in (((1, 2), 2), ((-1, -2), -2), ((1, -2), -1), ((0, 0, 1), 0)):
            window = Window()
            for value in values:
                window.add(value)
            self.assertEqual(window.mean, mean)


class TestRecent(unittest.TestCase):
    def test_against_sorting(self):
        noise = Noise(5)
        for size in (3, 5, 15):
            recent, values = Recent(size), []
            for _ in range(40):
                value = noise.next(50)
                recent.add(value)
                values = (values + [value])[-size:]
                ordered = sorted(values)
                self.assertEqual(recent.median(), ordered[(len(ordered) - 1) // 2])
                away = sorted(abs(v - 7) for v in values)
                self.assertEqual(recent.deviation(7), away[(len(away) - 1) // 2])


class TestHampel(unittest.TestCase):
    def test_spikes_go_and_levels_stay(self):
        noise, hampel = Noise(7), Hampel(9, 5)
        found = []
        for at in range(200):
            value = 2000 + noise.next(10)
            if at in (50, 51, 120):
                value += 700
            if at >= 150:
                value += 400  # a new level: outliers first, then the truth
            if hampel.is_outlier(value):
                found.append(at)
        for spike in (50, 51, 120, 150):
            self.assertIn(spike, found)
        self.assertEqual([at for at in found if at > 160], [])
        self.assertLess(len([at for at in found if at < 150 and at not in (50, 51, 120)]), 4)

    def test_a_constant_signal_may_tick(self):
        hampel = Hampel(5)
        self.assertEqual([hampel.is_outlier(v) for v in (7, 7, 7, 7, 8, 7, 11)], [False] * 7)
        self.assertTrue(hampel.is_outlier(12))


class TestRateAndInterval(unittest.TestCase):
    def test_rate(self):
        rate = Rate(60)
        self.assertFalse(rate.exceeds(100, 0))
        self.assertFalse(rate.exceeds(110, 10000))
        self.assertEqual(rate.per_minute, 60)
        self.assertTrue(rate.exceeds(99, 20000))
        self.assertFalse(rate.exceeds(0, 20000))

    def test_interval(self):
        interval = AdaptiveInterval(1000, 60000)
        self.assertEqual([interval.step(True) for _ in range(7)][-1], 1000)
        steps = 0
        while interval.step(False) < 60000:
            steps += 1
        self.assertLess(steps, 30)


class TestAnomaly(unittest.TestCase):
    def alarms(self, signal, threshold=200, seed=11):
        noise, detector, found = Noise(seed), Anomaly(threshold), []
        for at in range(600):
            if detector.take(signal(at) + noise.next(20)):
                found.append(at)
        return found

    def test_quiet_on_noise_and_slow_swing(self):
        for seed in range(1, 6):
            self.assertEqual(self.alarms(lambda at: 2000, seed=seed), [])
            self.assertEqual(self.alarms(lambda at: 2000 + at // 4, seed=seed), [])

    def test_a_jump_at_once_and_a_small_shift_soon(self):
        for sign in (1, -1):
            jump = self.alarms(lambda at, step=400 * sign: 2000 + (step if at >= 300 else 0))
            self.assertIn(jump[0], (300, 301))
            shift = self.alarms(lambda at, step=60 * sign: 2000 + (step if at >= 300 else 0))
            self.assertGreater(shift[0], 299)
            self.assertLess(shift[0], 330)

    def test_the_new_level_is_normal_afterwards(self):
        self.assertLess(len(self.alarms(lambda at: 2000 + (500 if at >= 300 else 0))), 3)


class TestChannel(unittest.TestCase):
    def rows(self, settings, samples):
        channel = ChannelFilter(FilterConfig(settings))
        out = []
        for at, (value, code) in enumerate(samples):
            if channel.take(value, code, at * 1000):
                out.append(at)
                channel.emitted(at * 1000)
        return out

    def test_without_settings_every_sample_is_a_row(self):
        self.assertEqual(self.rows({}, [(5, 0)] * 4), [0, 1, 2, 3])

    def test_missing_is_news_once(self):
        samples = [(5, 0), (0, quality.ABSENT), (0, quality.SKIPPED), (5, 0), (5, 0)]
        self.assertEqual(self.rows({"deadband": 3}, samples), [0, 1, 3])

    def test_outliers_are_flagged_and_ask_for_nothing(self):
        channel = ChannelFilter(FilterConfig({"hampel": 5, "deadband": 2}))
        values, codes = [None], [0]
        for at, value in enumerate((10, 10, 10, 10, 90, 10)):
            due = channel.take(value, 0, at * 1000)
            channel.fill(values, codes, 0)
            if value == 90:
                self.assertFalse(due)
                self.assertEqual((values, codes), ([90], [quality.OUTLIER]))
        self.assertEqual(codes, [0])

    def test_limits_and_median(self):
        channel = ChannelFilter(FilterConfig({"low": 0, "high": 100, "median": 3}))
        alarms = []
        for at, value in enumerate((50, 500, 50, 120, 130, -5, -6)):
            channel.take(value, 0, at * 1000)
            alarms.append(channel.alarm)
        self.assertEqual(alarms, ["", "", "", "high", "high", "high", "low"])

    def test_a_sample_allocates_nothing(self):
        import micropython

        settings = {"deadband": 5, "hampel": 9, "median": 5, "window": 100, "rate": 50, "low": 0}
        channel, detector = ChannelFilter(FilterConfig(settings)), Anomaly(100)
        for at in range(30):
            channel.take(2000 + at % 3, 0, at)
        micropython.heap_lock()
        try:
            for at in range(30, 60):
                channel.take(2000 + at % 3, 0, at)
                detector.take(2000 + at % 3)
        finally:
            micropython.heap_unlock()
        self.assertEqual(channel.window.count, 60)
