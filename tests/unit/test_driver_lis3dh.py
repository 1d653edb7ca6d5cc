"""node.drivers.lis3dh: examples (application note AN3308, section 4.2.3), ranges and faults."""

import unittest

from node.core import quality
from node.drivers import lis3dh
from node.drivers.sensor import NotReady
from simulated_bus import DriverRig, bus
from wire_faults import WireFaults


class TestLis3dh(DriverRig, WireFaults, unittest.TestCase):
    DRIVER = "lis3dh"

    def test_examples(self):
        # AN3308 section 4.2.3, table 8, +-2 g, BLE 0: 350 mg is E0h 15h, -350 mg is 20h EAh. (Its
        # 1 g, 00h 40h, is 1024 digits: the data sheet's table 4 says 1 mg per digit.)
        self.assertEqual(lis3dh.milli_g(0xE0, 0x15, 1), 350)
        self.assertEqual(lis3dh.milli_g(0x20, 0xEA, 1), -350)
        self.assertEqual(lis3dh.milli_g(0x00, 0x00, 1), 0)
        self.assertEqual(lis3dh.compensate(1000), 9807)
        self.assertEqual(lis3dh.compensate(-350), -3432)

    def test_over_the_range(self):
        for range_g, step in ((2, 1), (4, 2), (8, 4), (16, 12)):
            self.rig(options={"range_g": range_g})
            for mg in (-900 * range_g, -350, 0, 7, 990 * range_g):
                self.bench.world["x_mg"], self.bench.world["y_mg"] = mg, -mg
                out = self.bench.read(self.driver)
                self.assertAlmostEqual(out[0], mg * 9.80665, delta=5 + 6 * step)
                self.assertAlmostEqual(out[1], -mg * 9.80665, delta=5 + 6 * step)
                self.assertAlmostEqual(out[2], 9807, delta=5 + 6 * step)

    def test_the_sample_of_the_last_time_is_not_read(self):
        self.bench.read(self.driver)
        self.driver.start()
        with self.assertRaises(NotReady):
            self.driver.read_into([0, 0, 0])

    def test_what_is_not_settled_is_not_waited_for_too_shortly(self):
        # Data sheet table 10: 7 / ODR to turn on in high-resolution mode
        wait_ms = self.driver.start()
        setup = self.bench.part.registers[0x20]
        self.assertEqual(setup, 0x77)  # 400 Hz, so 17.5 ms
        self.assertEqual(wait_ms, 18)
        self.bench.now_ms += wait_ms
        out = [0, 0, 0]
        self.driver.read_into(out)
        self.assertEqual(out[2], 9807)

    def test_stuck_and_clipped(self):
        self.check((bus.FAULT_STUCK, quality.TIMEOUT))
        self.bench.world["fault"] = bus.FAULT_IMPLAUSIBLE
        self.bench.read(self.driver)
        self.assertEqual(bytes(self.driver.quality), bytes([quality.CLIPPED] * 3))

    def test_another_part(self):
        self.bench.part.registers[0x0F] = 0x32
        self.assertEqual(self.outcome(), quality.WRONG_PART)

    def test_a_part_that_lost_its_power(self):
        self.driver.start()
        self.bench.part.power_on()
        self.bench.now_ms += 200
        try:
            self.driver.read_into([0] * 7)
            self.assertTrue(False)
        except lis3dh.SensorError as error:
            self.assertEqual(error.code, quality.IMPLAUSIBLE)
