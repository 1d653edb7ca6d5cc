"""node.drivers.ina219: the worked example (SBOS448G section 9.2.2.1), range and faults."""

import unittest

from node.core import quality
from node.drivers import ina219
from simulated_bus import DriverRig, bus
from wire_faults import WireFaults


class TestIna219(DriverRig, WireFaults, unittest.TestCase):
    DRIVER = "ina219"

    def test_worked_example(self):
        # SBOS448G section 9.2.2.1, table 8 (SBOS448F: table 3): with 2 mOhm, shunt 07D0h and bus
        # 5D98h are 11.98 V, 10.0 A and 119.8 W
        out = [0, 0, 0]
        ina219.compensate(0x07D0, 0x5D98, 2, out)
        self.assertEqual(out, [11980, 1000000, 119800])
        ina219.compensate(-0x07D0, 0x5D98, 2, out)
        self.assertEqual(out, [11980, -1000000, -119800])

    def test_over_the_range(self):
        for volts in (0, 3300, 12000, 26000):
            for current in (-3000000, -150, 0, 100, 1234500):
                self.bench.world["voltage_mv"] = volts
                self.bench.world["current_ua"] = current
                out = self.bench.read(self.driver)
                self.assertAlmostEqual(out[0], volts, delta=4)
                self.assertAlmostEqual(out[1] * 10, current, delta=100)

    def test_overflow(self):
        self.bench.world["fault"] = bus.FAULT_IMPLAUSIBLE
        self.bench.read(self.driver)
        codes = bytes((0, quality.CLIPPED, quality.CLIPPED))
        self.assertEqual(bytes(self.driver.quality), codes)
        self.good_again()
        self.assertEqual(bytes(self.driver.quality), bytes(3))

    def test_more_than_the_shunt_can_show(self):
        # SBOS448G section 8.6.3.1, table 7: 320.00 mV and more are 7D00h, -320.00 and less 8300h
        for current, shown, clipped in (
            (3199900, 319990, False),
            (3200000, 320000, True),
            (9000000, 320000, True),
            (-9000000, -320000, True),
        ):
            self.bench.world["current_ua"] = current
            self.assertEqual(self.bench.read(self.driver)[1], shown)
            self.assertEqual(self.driver.quality[1] == quality.CLIPPED, clipped)

    def test_stuck(self):
        self.check((bus.FAULT_STUCK, quality.TIMEOUT))

    def test_a_part_that_lost_its_power(self):
        self.driver.start()
        self.bench.part.power_on()
        self.bench.now_ms += 200
        try:
            self.driver.read_into([0] * 7)
            self.assertTrue(False)
        except ina219.SensorError as error:
            self.assertEqual(error.code, quality.IMPLAUSIBLE)
