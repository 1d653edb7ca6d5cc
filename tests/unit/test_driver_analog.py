"""node.drivers.battery and soil over their models and an ideal analogue input. They have no data
sheet: expected values are computed here from the circuit."""

import unittest

from node.core import quality
from node.drivers import battery, soil
from node.drivers.sensor import NotReady
from simulated_bus import Bench, bus, sensor_config


class Analog:
    """hal.analog.AnalogIn over a model."""

    def __init__(self, bench):
        self.bench = bench
        self.conversions = 0

    def millivolts(self):
        self.conversions += 1
        return max(0, self.bench.part.microvolts(self.bench.now_ms) // 1000)


class Wiring:
    def __init__(self, bench):
        self.input = Analog(bench)
        self.asked = []

    def analog(self, pin):
        self.asked.append(pin)
        return self.input


def rig(module, name, model=None, **options):
    bench = Bench(name, **(model or {}))
    wiring = Wiring(bench)
    driver = module.Driver(wiring, sensor_config(name, pin="gpio34", options=options))
    return bench, driver, wiring


class TestBattery(unittest.TestCase):
    def test_divider(self):
        for pin_mv in (0, 1, 999, 2100):
            for upper, lower in ((100, 100), (330, 100), (1000, 470), (0, 1)):
                value = battery.battery_millivolts(pin_mv, upper, lower)
                self.assertAlmostEqual(value, pin_mv * (upper + lower) / lower, delta=0.501)

    def test_over_the_range(self):
        bench, driver, wiring = rig(battery, "battery")
        self.assertEqual(wiring.asked, [])
        for millivolts in (0, 2800, 3701, 4200):
            bench.world["millivolts"] = millivolts
            self.assertAlmostEqual(bench.read(driver)[0], millivolts, delta=2)
        self.assertEqual(wiring.asked, ["gpio34"])

    def test_spikes_are_left_out(self):
        class Spiky:
            values = [1000] * 16 + [3300, 0]

            def millivolts(self):
                return self.values.pop()

        self.assertEqual(battery.trimmed_mean(Spiky()), 1000)

    def test_noise_is_averaged(self):
        bench, driver, _ = rig(battery, "battery", {"noise_uv": 40000})
        self.assertAlmostEqual(bench.read(driver)[0], 3900, delta=3)

    def test_no_battery_there(self):
        bench, driver, _ = rig(battery, "battery", lowest_mv=2000, highest_mv=4400)
        for fault in (bus.FAULT_ABSENT, bus.FAULT_IMPLAUSIBLE):
            bench.world["fault"] = fault
            self.assertEqual(bench.code(driver), quality.IMPLAUSIBLE)
        bench.world["fault"] = 0
        self.assertEqual(bench.code(driver), 0)

    def test_reading_without_a_start_is_refused(self):
        for module, name in ((battery, "battery"), (soil, "soil")):
            _, driver, wiring = rig(module, name)
            self.assertRaises(NotReady, driver.read_into, [None])
            self.assertEqual(wiring.input.conversions, 0)


class TestSoil(unittest.TestCase):
    def test_straight_line(self):
        for pin_mv in (800, 900, 1234, 1600, 2300, 2400):
            expected = (2300 - pin_mv) / 1400 * 1000
            value = soil.moisture_thousandths(pin_mv, 2300, 900)
            self.assertAlmostEqual(value, expected, delta=0.501)
        # A sensor whose voltage rises with water
        self.assertEqual(soil.moisture_thousandths(1250, 1000, 2000), 250)

    def test_over_the_range(self):
        bench, driver, _ = rig(soil, "soil")
        for moisture in (0, 1, 400, 999, 1000):
            bench.world["moisture_milli"] = moisture
            self.assertAlmostEqual(bench.read(driver)[0], moisture, delta=1)
            self.assertLessEqual(bench.read(driver)[0], 1000)

    def test_a_little_outside_is_clipped(self):
        bench, driver, _ = rig(soil, "soil")
        for moisture, end in ((-50, 0), (1050, 1000)):
            bench.world["moisture_milli"] = moisture
            self.assertEqual(bench.read(driver), [end])
            self.assertEqual(driver.quality[0], quality.CLIPPED)

    def test_faults(self):
        bench, driver, _ = rig(soil, "soil")
        for fault in (bus.FAULT_ABSENT, bus.FAULT_IMPLAUSIBLE):
            bench.world["fault"] = fault
            self.assertEqual(bench.code(driver), quality.IMPLAUSIBLE)
        bench.world["fault"] = 0
        self.assertEqual(bench.code(driver), 0)

    def test_a_span_of_nothing(self):
        bench, driver, _ = rig(soil, "soil", dry_mv=900, wet_mv=900)
        self.assertEqual(bench.code(driver), quality.IMPLAUSIBLE)
