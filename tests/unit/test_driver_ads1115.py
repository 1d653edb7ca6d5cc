"""node.drivers.ads1115: output codes (SBAS444E section 7.5.4, table 7-3), inputs and faults."""

import unittest

from node.core import quality
from node.drivers import ads1115
from node.drivers.sensor import NotReady
from simulated_bus import DriverRig, bus
from wire_faults import WireFaults


class TestAds1115(DriverRig, WireFaults, unittest.TestCase):
    DRIVER = "ads1115"

    def test_output_codes(self):
        # SBAS444E table 7-3: +FS(2^15-1)/2^15 is 7FFFh, FS/2^15 is 0001h, -FS is 8000h
        self.assertEqual(ads1115.compensate(0x7FFF, 2048), 20479)
        self.assertEqual(ads1115.compensate(0x7FFF, 6144), 61438)
        self.assertEqual(ads1115.compensate(-0x8000, 2048), -20480)
        # Table 7-1, by the codes that make whole tenths of a millivolt
        for range_mv, codes, tenths in (
            (6144, 8, 15),  # 187.5 uV per code
            (4096, 4, 5),  # 125 uV
            (2048, 8, 5),  # 62.5 uV
            (1024, 16, 5),  # 31.25 uV
            (512, 32, 5),  # 15.625 uV
            (256, 64, 5),  # 7.8125 uV
        ):
            self.assertEqual(ads1115.compensate(codes, range_mv), tenths)
            self.assertEqual(ads1115.compensate(-codes, range_mv), -tenths)

    def test_four_inputs_in_turn(self):
        for at, volts in enumerate((1000000, -250, 3999000, 2048000)):
            self.bench.world["in%d_uv" % at] = volts
        out = self.bench.read(self.driver)
        for at, volts in enumerate((10000, -2, 39990, 20480)):
            self.assertAlmostEqual(out[at], volts, delta=2)

    def test_only_what_is_asked_for(self):
        self.rig(options={"inputs": [2], "range_mv": 2048})
        self.assertEqual(self.driver.CHANNELS, (("in2", "V", -4),))
        self.bench.world["in2_uv"] = 5000000
        self.assertEqual(self.bench.read(self.driver), [20479])
        self.assertEqual(self.driver.quality[0], quality.CLIPPED)

    def test_too_early(self):
        self.driver.start()
        with self.assertRaises(NotReady):
            self.driver.read_into([0] * 4)

    def test_stuck(self):
        self.check((bus.FAULT_STUCK, quality.TIMEOUT))

    def test_a_part_that_lost_its_power(self):
        self.driver.start()
        self.bench.part.power_on()
        self.bench.now_ms += 200
        try:
            self.driver.read_into([0] * 7)
            self.assertTrue(False)
        except ads1115.SensorError as error:
            self.assertEqual(error.code, quality.IMPLAUSIBLE)
