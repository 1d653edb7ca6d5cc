"""node.drivers.hx711 against the model, clock by clock. The data sheet has no worked example:
expected masses are computed here, from the definition of the scale."""

import unittest

from node.core import quality
from node.drivers import hx711
from node.drivers.sensor import NotReady
from simulated_bus import Bench, bus, sensor_config


class Line:
    """hal.shift.ShiftIn over a model."""

    def __init__(self, bench):
        self.bench = bench
        self.clocks = 0

    def _data(self):
        level = self.bench.part.level("data", self.bench.now_ms)
        return 1 if level is None else level  # the pin's pull-up

    def ready(self):
        return not self._data()

    def read(self, bits, more):
        value = 0
        for index in range(bits + more):
            self.clocks += 1
            self.bench.part.drive("clk", 1, self.bench.now_ms)
            bit = self._data()
            self.bench.part.drive("clk", 0, self.bench.now_ms)
            if index < bits:
                value = value << 1 | bit
        return value


class Wiring:
    def __init__(self, bench):
        self.line = Line(bench)
        self.asked = []

    def shift_in(self, data, clock):
        self.asked.append((data, clock))
        return self.line


def rig(**options):
    bench = Bench("hx711")
    options["clock"] = "gpio4"
    wiring = Wiring(bench)
    driver = hx711.Driver(wiring, sensor_config("hx711", pin="gpio5", options=options))
    return bench, driver, wiring


class TestConversion(unittest.TestCase):
    def test_grams(self):
        for counts in (-400000, -1, 0, 84000, 84210, 84211, 505000, 8388607):
            for per_kg in (421, 420983, -420983):
                expected = (counts - 84000) * 1000 / per_kg
                value = hx711.grams(counts, 84000, per_kg)
                self.assertAlmostEqual(value, expected, delta=0.501)

    def test_channels_by_options(self):
        config = sensor_config("hx711", options={"counts_per_kg": 1000})
        self.assertEqual(hx711.channels(config), (("mass", "kg", -3),))
        self.assertEqual(hx711.channels(sensor_config("hx711")), hx711.CHANNELS)


class TestOnTheWires(unittest.TestCase):
    def test_counts_over_the_range(self):
        bench, driver, wiring = rig()
        self.assertEqual(wiring.asked, [])
        for counts in (0, 1, -1, 5592405, -5592406, 8388606, -8388607):
            bench.world["counts"] = counts
            self.assertEqual(bench.read(driver), [counts])
            self.assertEqual(driver.quality[0], quality.GOOD)
        self.assertEqual(wiring.asked, [("gpio5", "gpio4")])

    def test_saturation_is_clipped(self):
        bench, driver, _ = rig()
        for counts, end in ((9000000, 0x7FFFFF), (-9000000, -0x800000)):
            bench.world["counts"] = counts
            self.assertEqual(bench.read(driver), [end])
            self.assertEqual(driver.quality[0], quality.CLIPPED)

    def test_a_scale(self):
        bench, driver, _ = rig(zero=84000, counts_per_kg=420000)
        bench.world["counts"] = 84000 + 105000
        self.assertEqual(bench.read(driver), [250])

    def test_other_gains(self):
        bench, driver, _ = rig(gain=64)
        bench.world["counts"] = 100000
        self.assertEqual(bench.read(driver), [50000])
        bench, driver, _ = rig(gain=32)
        bench.world["counts_b"] = 777
        bench.world["counts"] = 100000
        self.assertEqual(bench.read(driver), [777])
        self.assertEqual(bench.read(driver), [777])

    def test_what_was_converted_before_the_start_is_dropped(self):
        bench, driver, wiring = rig()
        bench.read(driver)
        bench.now_ms += 60000
        wiring.line.clocks = 0
        bench.world["counts"] = 4242
        self.assertEqual(bench.read(driver), [4242])
        self.assertEqual(wiring.line.clocks, 50)

    def test_reading_before_it_is_ready_is_refused(self):
        bench, driver, _ = rig()
        out = [None]
        with self.assertRaises(NotReady):
            driver.read_into(out)
        driver.start()
        with self.assertRaises(NotReady):
            driver.read_into(out)
        self.assertEqual(out, [None])

    def test_faults(self):
        bench, driver, _ = rig()
        for fault, code in (
            (bus.FAULT_ABSENT, quality.TIMEOUT),
            (bus.FAULT_STUCK, quality.TIMEOUT),
            (bus.FAULT_IMPLAUSIBLE, quality.BUS),
        ):
            bench.world["fault"] = fault
            self.assertEqual(bench.code(driver), code)
            driver.reset()
            bench.world["fault"] = 0
            bench.now_ms += 1000
            self.assertEqual(bench.code(driver), 0)
