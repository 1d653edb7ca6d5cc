"""node.drivers.sht4x. Data sheet SHT4x version 6.6 has no worked conversion: its formula (section
4.6) in floating point, computed here. The CRC is the SHT3x's: test_driver_sht3x."""

import unittest

from node.core import quality
from node.drivers import sht4x
from node.drivers.sensor import NotReady
from simulated_bus import I2C, Bench, bus, sensor_config
from wire_faults import WireFaults


class TestConversion(unittest.TestCase):
    def test_formulas(self):
        # In floating point; humidity is cropped
        for raw in (0, 1, 9362, 0x6666, 0x8000, 0xBEEF, 0xFFFE, 0xFFFF):
            celsius = -45 + 175 * raw / 65535
            humidity = max(0, min(100, -6 + 125 * raw / 65535))
            self.assertAlmostEqual(sht4x.celsius_hundredths(raw), celsius * 100, delta=0.51)
            self.assertAlmostEqual(sht4x.humidity_hundredths(raw), humidity * 100, delta=0.51)

    def test_cropped(self):
        self.assertEqual(sht4x.humidity_hundredths(0), 0)
        self.assertEqual(sht4x.humidity_hundredths(65535), 10000)


class TestOnTheBus(unittest.TestCase, WireFaults):
    def setUp(self):
        self.bench = Bench("sht4x")
        self.i2c = I2C(self.bench)
        self.driver = sht4x.Driver(self.i2c, sensor_config("sht4x"))

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
