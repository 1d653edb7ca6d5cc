"""node.drivers.sht3x and sensirion. The CRC example of data sheet SHT3x-DIS version 7 (section
4.12, table 20); it has no worked conversion: its formula (section 4.13) in floating point,
computed here."""

import unittest

from node.core import quality
from node.drivers import sensirion, sht3x
from node.drivers.sensor import NotReady, crc8
from simulated_bus import I2C, Bench, bus, sensor_config
from wire_faults import WireFaults


class TestConversion(unittest.TestCase):
    def test_crc_example(self):
        # SHT3x-DIS version 7, section 4.12, table 20: CRC(0xBEEF) = 0x92
        self.assertEqual(crc8(b"\xbe\xef", 0x31, 0xFF), 0x92)

    def test_formulas(self):
        # Section 4.13, in floating point
        for raw in (0, 1, 9362, 0x6666, 0x8000, 0xBEEF, 0xFFFE, 0xFFFF):
            celsius = -45 + 175 * raw / 65535
            humidity = 100 * raw / 65535
            self.assertAlmostEqual(sht3x.celsius_hundredths(raw), celsius * 100, delta=0.51)
            self.assertAlmostEqual(sht3x.humidity_hundredths(raw), humidity * 100, delta=0.51)

    def test_ends_of_the_range(self):
        self.assertEqual(sht3x.celsius_hundredths(0), -4500)
        self.assertEqual(sht3x.celsius_hundredths(65535), 13000)
        self.assertEqual(sht3x.humidity_hundredths(65535), 10000)

    def test_within_a_small_int_of_a_32_bit_vm(self):
        self.assertLess(17500 // 5 * 65535 + 6553, 1 << 30)
        self.assertEqual(sensirion.word(b"\x12\x34\0\x56\x78\0", 1), 0x5678)


class TestOnTheBus(unittest.TestCase, WireFaults):
    def setUp(self):
        self.bench = Bench("sht3x")
        self.i2c = I2C(self.bench)
        self.driver = sht3x.Driver(self.i2c, sensor_config("sht3x"))

    def test_over_the_range(self):
        for celsius in (-3990, -1, 0, 2150, 8000, 12490):
            for humidity in (0, 100, 4567, 10000):
                self.bench.world["temperature_mc"] = celsius * 10
                self.bench.world["humidity_milli"] = humidity * 10
                out = self.bench.read(self.driver)
                self.assertAlmostEqual(out[0], celsius, delta=1)
                self.assertAlmostEqual(out[1], humidity, delta=1)

    def test_too_early_is_refused(self):
        self.driver.start()
        with self.assertRaises(NotReady):
            self.driver.read_into([0, 0])

    def test_faults(self):
        for fault, code in (
            (bus.FAULT_STUCK, quality.TIMEOUT),
            (bus.FAULT_IMPLAUSIBLE, quality.IMPLAUSIBLE),
            (bus.FAULT_CRC, quality.CRC),
        ):
            self.bench.world["fault"] = fault
            self.assertEqual(self.outcome(), code)
            self.good_again()
