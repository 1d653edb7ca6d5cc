"""node.drivers.aht20. The manual has no worked example: values by its formulas, in floats, and the
CRC of an answer that was read from a part."""

import unittest

from node.core import quality
from node.drivers import aht20
from node.drivers.sensor import NotReady, crc8
from simulated_bus import I2C, Bench, bus, sensor_config
from wire_faults import WireFaults


class TestConversion(unittest.TestCase):
    def test_formulas(self):
        # Section 6.1 and 6.2, in floating point
        for raw in (0, 1, 0x40000, 0x5C28F, 0x80000, 0xFFFFF):
            celsius = raw / 1048576 * 200 - 50
            humidity = raw / 1048576 * 100
            self.assertAlmostEqual(aht20.celsius_hundredths(raw), celsius * 100, delta=0.51)
            self.assertAlmostEqual(aht20.humidity_hundredths(raw), humidity * 100, delta=0.51)

    def test_an_answer_of_a_part(self):
        # 28 38 154 118 66 231, CRC 118: published with the aht20 library of elixir-sensors
        answer = bytes((28, 38, 154, 118, 66, 231))
        self.assertEqual(crc8(answer, 0x31, 0xFF), 118)
        self.assertEqual(aht20.humidity_hundredths(0x269A7), 1508)
        self.assertEqual(aht20.celsius_hundredths(0x642E7), 2827)

    def test_within_a_small_int_of_a_32_bit_vm(self):
        self.assertLess(0xFFFFF * 625 + 32768, 1 << 30)


class TestOnTheBus(unittest.TestCase, WireFaults):
    def setUp(self):
        self.bench = Bench("aht20")
        self.i2c = I2C(self.bench)
        self.driver = aht20.Driver(self.i2c, sensor_config("aht20"))

    def test_over_the_range(self):
        for celsius in (-3990, -1, 0, 2150, 8490):
            for humidity in (0, 100, 4567, 9990):
                self.bench.world["temperature_mc"] = celsius * 10
                self.bench.world["humidity_milli"] = humidity * 10
                out = self.bench.read(self.driver)
                self.assertAlmostEqual(out[0], celsius, delta=1)
                self.assertAlmostEqual(out[1], humidity, delta=1)

    def test_too_early_is_refused(self):
        self.driver.start()
        with self.assertRaises(NotReady):
            self.driver.read_into([0, 0])

    def test_an_uncalibrated_part_is_initialised_once(self):
        bench = Bench("aht20", uncalibrated=True)
        driver = aht20.Driver(I2C(bench), sensor_config("aht20"))
        for _ in range(2):
            with self.assertRaises(NotReady):
                driver.start()
            bench.now_ms += 5
        self.assertAlmostEqual(bench.read(driver)[0], 2100, delta=1)

    def test_faults(self):
        for fault, code in (
            (bus.FAULT_STUCK, quality.TIMEOUT),
            (bus.FAULT_IMPLAUSIBLE, quality.IMPLAUSIBLE),
            (bus.FAULT_CRC, quality.CRC),
        ):
            self.bench.world["fault"] = fault
            self.assertEqual(self.outcome(), code)
            self.good_again()
