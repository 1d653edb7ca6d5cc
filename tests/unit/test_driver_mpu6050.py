"""node.drivers.mpu6050: ranges and faults. The register map (RM-MPU-6000A-00 revision 4.2,
sections 4.17 to 4.19) has no worked example: its sensitivities, at corner points computed here.
One pair of values is the product specification's: 35 Cel is -521 (PS-MPU-6000A-00, the table of
electrical characteristics; section not checked)."""

import unittest

from node.core import quality
from node.drivers import mpu6050
from node.drivers.sensor import NotReady
from simulated_bus import DriverRig, bus
from wire_faults import WireFaults


class TestMpu6050(DriverRig, WireFaults, unittest.TestCase):
    DRIVER = "mpu6050"

    def test_formulas(self):
        # RM-MPU-6000A sections 4.17 to 4.19: 16384 per g, 131 per degree/s, raw / 340 + 36.53 Cel
        out = [0] * 7
        mpu6050.compensate([16384, -16384, 0, -521, 131, -131, 0], out)
        self.assertEqual(out[:3], [9807, -9807, 0])
        self.assertEqual(out[3:6], [175, -175, 0])
        self.assertEqual(out[6], 3500)  # product specification: 35 Cel is -521

    def test_over_the_range(self):
        for mg, rate, celsius in ((0, 0, 0), (1900, 249000, 84000), (-1900, -249000, -39000)):
            self.bench.world["x_mg"], self.bench.world["ry_mdps"] = mg, rate
            self.bench.world["temperature_mc"] = celsius
            out = self.bench.read(self.driver)
            self.assertAlmostEqual(out[0], mg * 9.80665, delta=2)
            self.assertAlmostEqual(out[4], rate * 0.000174533 * 1000, delta=2)
            self.assertAlmostEqual(out[6] * 10, celsius, delta=15)

    def test_data_ready_is_asked_for(self):
        # Section 4.15: DATA_RDY_EN; without it the status of section 4.16 stays 0
        self.driver.start()
        self.assertEqual(self.bench.part.registers[0x38], 1)
        self.bench.part.registers[0x38] = 0
        self.bench.now_ms += 200
        self.assertRaises(NotReady, self.driver.read_into, [0] * 7)

    def test_stuck_and_clipped(self):
        self.check((bus.FAULT_STUCK, quality.TIMEOUT))
        self.bench.world["fault"] = bus.FAULT_IMPLAUSIBLE
        self.bench.read(self.driver)
        self.assertEqual(bytes(self.driver.quality), bytes([quality.CLIPPED] * 6 + [0]))

    def test_another_part(self):
        self.rig({"who_am_i": 0x70})
        self.assertEqual(self.outcome(), quality.WRONG_PART)

    def test_a_part_that_lost_its_power(self):
        self.driver.start()
        self.bench.part.power_on()
        self.bench.now_ms += 200
        try:
            self.driver.read_into([0] * 7)
            self.assertTrue(False)
        except mpu6050.SensorError as error:
            self.assertEqual(error.code, quality.IMPLAUSIBLE)
