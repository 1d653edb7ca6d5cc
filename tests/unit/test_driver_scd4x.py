"""node.drivers.scd4x: the worked example of data sheet SCD4x version 1.5 (section 3.5.2, table
11), its own rhythm and faults."""

import unittest

from node.core import quality
from node.drivers import scd4x, sensor
from simulated_bus import DriverRig, bus
from wire_faults import WireFaults


class TestScd4x(DriverRig, WireFaults, unittest.TestCase):
    DRIVER = "scd4x"

    def test_worked_example(self):
        # Section 3.5.2, table 11: 01F4, 6667 A2, 5EB9 3C are 500 ppm, 25 Cel, 37 %RH. Version 1.5
        # prints 7B for the CRC of 01F4, version 1.7 33, which is what its polynomial gives.
        for word, crc in ((b"\x01\xf4", 0x33), (b"\x66\x67", 0xA2), (b"\x5e\xb9", 0x3C)):
            self.assertEqual(sensor.crc8(word, 0x31, 0xFF), crc)
        # More words with their CRC, sections 3.6.1, 3.6.2 and 3.7.1
        for word, crc in ((b"\x07\xe6", 0x48), (b"\x09\x12", 0x63), (b"\x7f\xce", 0x7B)):
            self.assertEqual(sensor.crc8(word, 0x31, 0xFF), crc)
        out = [0, 0, 0]
        scd4x.compensate((0x01F4, 0x6667, 0x5EB9), out)
        self.assertEqual(out, [500, 2500, 3700])

    def good_again(self):
        self.bench.now_ms += 10000
        WireFaults.good_again(self)

    def test_measures_by_itself_from_the_first_start(self):
        self.bench.world["co2_ppm"] = 812
        began = self.bench.now_ms
        self.assertEqual(self.bench.read(self.driver)[0], 812)
        self.assertAlmostEqual(self.bench.now_ms - began, 5000, delta=20)
        self.bench.now_ms += 60000
        began = self.bench.now_ms
        self.assertEqual(self.bench.read(self.driver), [812, 2100, 4500])
        self.assertLess(self.bench.now_ms - began, 20)

    def test_no_new_value_is_not_the_old_one(self):
        self.bench.read(self.driver)
        began = self.bench.now_ms
        self.bench.read(self.driver)
        self.assertGreater(self.bench.now_ms - began, 4900)

    def test_after_our_reset_it_is_still_measuring(self):
        self.bench.read(self.driver)
        self.driver.reset()
        self.assertEqual(self.outcome(), quality.GOOD)

    def test_low_power(self):
        self.rig(options={"low_power": True})
        began = self.bench.now_ms
        self.bench.read(self.driver)
        self.assertAlmostEqual(self.bench.now_ms - began, 30000, delta=20)

    def test_faults(self):
        self.check(
            (bus.FAULT_CRC, quality.CRC),
            (bus.FAULT_IMPLAUSIBLE, quality.IMPLAUSIBLE),
            (bus.FAULT_STUCK, quality.TIMEOUT),
        )
