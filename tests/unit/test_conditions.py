"""When an update may be installed."""

import unittest

from node.core.conditions import Conditions, Settings, window_of


class Storage:
    def __init__(self):
        self.data = {}

    def read(self, path):
        return self.data.get(path)

    def write_atomic(self, path, data):
        self.data[path] = data


class ConditionsCase(unittest.TestCase):
    def setUp(self):
        self.settings = Settings()
        self.battery, self.powered, self.unix_s, self.up_ms = 80, False, 1800000000, 1000
        self.storage = Storage()

    def make(self, device="d"):
        facts = lambda: (self.battery, self.powered, self.unix_s, self.up_ms)  # noqa: E731
        return Conditions(self.settings, device, facts, self.storage, "/data/defer.cbor")

    def code(self):
        return self.make().allowed({})

    def at(self, hour, minute):
        self.unix_s = 1800000000 // 86400 * 86400 + hour * 3600 + minute * 60


class TestPower(ConditionsCase):
    def test_nothing_asked(self):
        self.battery = 1
        self.assertEqual(self.code(), "")

    def test_battery(self):
        self.settings.min_battery_pct = 50
        self.assertEqual(self.code(), "")
        self.battery = 49
        self.assertEqual(self.code(), "battery-low")
        self.powered = True  # it cannot run out
        self.assertEqual(self.code(), "")

    def test_battery_that_cannot_be_measured(self):
        self.settings.min_battery_pct = 50
        self.battery = self.powered = None
        self.assertEqual(self.code(), "")

    def test_external_power(self):
        self.settings.external_power = True
        self.assertEqual(self.code(), "not-powered")
        self.powered = True
        self.assertEqual(self.code(), "")


class TestWindow(ConditionsCase):
    def test_text(self):
        self.assertEqual(window_of("01:30-05:00"), (90, 300))
        for bad in ("", "1-2", "25:00-01:00", "01:00", "01:60-02:00", "a:b-c:d"):
            with self.assertRaises(ValueError):
                window_of(bad)

    def test_inside_and_outside(self):
        self.settings.window_min = window_of("01:00-05:00")
        for hour, minute, code in (
            (0, 59, "outside-window"),
            (1, 0, ""),
            (4, 59, ""),
            (5, 0, "outside-window"),
        ):
            self.at(hour, minute)
            self.assertEqual(self.code(), code)

    def test_over_midnight(self):
        self.settings.window_min = window_of("22:00-02:00")
        for hour, code in (
            (21, "outside-window"),
            (22, ""),
            (0, ""),
            (1, ""),
            (2, "outside-window"),
        ):
            self.at(hour, 0)
            self.assertEqual(self.code(), code)

    def test_jitter_spreads_and_leaves_room(self):
        self.settings.window_min = window_of("01:00-03:00")
        self.settings.jitter_min = 500
        starts = set()
        for n in range(50):
            device = self.make("device-%d" % n)
            minute = 0
            while minute < 180:
                self.at(minute // 60, minute % 60)
                if not device.allowed({}):
                    break
                minute += 1
            starts.add(minute)
        self.assertGreater(len(starts), 10)
        self.assertTrue(min(starts) >= 60)
        self.assertTrue(max(starts) <= 120)

    def test_clock_unknown_is_not_for_ever(self):
        self.settings.window_min = window_of("01:00-03:00")
        self.unix_s = None
        self.assertEqual(self.code(), "clock-unset")
        self.up_ms = 86400000
        self.assertEqual(self.code(), "")


class TestDeferral(ConditionsCase):
    def test_waits_and_ends(self):
        device = self.make()
        self.assertEqual(device.defer(b"r", 60), 60)
        self.assertEqual(device.allowed({}), "deferred")
        self.up_ms += 60000
        self.assertEqual(device.allowed({}), "")

    def test_limit_is_per_release_and_outlives_reboots(self):
        self.settings.defer_limit_s = 100
        self.assertEqual(self.make().defer(b"r", 70), 70)
        self.assertEqual(self.make().defer(b"r", 70), 30)
        self.assertEqual(self.make().defer(b"r", 70), 0)
        self.assertEqual(self.make().defer(b"s", 70), 70)

    def test_negative_gives_nothing_back(self):
        self.settings.defer_limit_s = 100
        device = self.make()
        self.assertEqual(device.defer(b"r", -50), 0)
        self.assertEqual(device.defer(b"r", 1000), 100)

    def test_change_of_mind(self):
        device = self.make()
        device.defer(b"r", 60)
        device.install_now()
        self.assertEqual(device.allowed({}), "")

    def test_damaged_file(self):
        self.storage.data["/data/defer.cbor"] = b"\xff"
        self.assertEqual(self.make().defer(b"r", 60), 60)


if __name__ == "__main__":
    unittest.main()
