"""node.drivers.bme280 against the worked example of the BMP280's data sheet and the register-level
model. The BME280's has no example, and humidity none at all: that is held against the formulas in
floating point (section 8.1), from which the model finds its raw values."""

import unittest

from node.core import quality
from node.drivers import bme280
from node.drivers.sensor import NotReady
from simulated_bus import I2C, Bench, bus, sensor_config

# BMP280 data sheet BST-BMP280-DS001, section 3.12 (same formulas; its 100653.27 Pa are those of
# 64 bits)
EXAMPLE_T = (27504, 26435, -1000)
EXAMPLE_P = (36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000)
EXAMPLE_RAW_T = 519888
EXAMPLE_RAW_P = 415148
EXAMPLE_T_FINE = 128422
EXAMPLE_CELSIUS = 2508
EXAMPLE_PASCAL = 100653


class _Trim:
    t = EXAMPLE_T
    p = EXAMPLE_P
    h = (75, 362, 0, 321, 50, 30)


class TestWorkedExample(unittest.TestCase):
    def test_temperature(self):
        fine = bme280.fine_temperature(_Trim, EXAMPLE_RAW_T)
        self.assertAlmostEqual(fine, EXAMPLE_T_FINE, delta=1)
        self.assertEqual(bme280.celsius_hundredths(fine), EXAMPLE_CELSIUS)

    def test_pressure(self):
        fine = bme280.fine_temperature(_Trim, EXAMPLE_RAW_T)
        pressure = bme280.pressure_16ths(_Trim, EXAMPLE_RAW_P, fine)
        self.assertEqual(pressure + 8 >> 4, EXAMPLE_PASCAL)

    def test_pressure_against_floating_point(self):
        # section 8.1's formulas, which the model has; its trimming values are the example's
        model = Bench("bme280").module
        for raw_t in (330000, 400000, 450000, 519888, 600000, 700000):
            exact = model.t_fine(raw_t)
            fine = bme280.fine_temperature(_Trim, raw_t)
            for raw_p in range(250000, 900000, 50000):
                pascal = model.pascal(raw_p, exact)
                pressure = bme280.pressure_16ths(_Trim, raw_p, fine)
                self.assertAlmostEqual(pressure / 16, pascal, delta=1)

    def test_limits_of_humidity(self):
        self.assertEqual(bme280.humidity_1024ths(_Trim, 0, EXAMPLE_T_FINE), 0)
        self.assertEqual(bme280.humidity_1024ths(_Trim, 65535, EXAMPLE_T_FINE), 100 * 1024)


class TestOnTheBus(unittest.TestCase):
    def setUp(self):
        self.bench = Bench("bme280")
        self.driver = bme280.Driver(I2C(self.bench), sensor_config("bme280"))

    def test_over_the_range(self):
        for celsius in (-3900, -1000, 0, 2150, 6000, 8400):
            for humidity in (500, 4500, 9900):
                for pressure in (31000, 101325, 109000):
                    self.bench.world["temperature_mc"] = celsius * 10
                    self.bench.world["humidity_milli"] = humidity * 10
                    self.bench.world["pressure_pa"] = pressure
                    out = self.bench.read(self.driver)
                    self.assertAlmostEqual(out[0], celsius, delta=1)
                    self.assertAlmostEqual(out[1], humidity, delta=5)
                    self.assertAlmostEqual(out[2], pressure, delta=2)

    def test_reading_before_it_is_ready_is_refused(self):
        out = [0, 0, 0]
        with self.assertRaises(NotReady):
            self.driver.read_into(out)
        self.driver.start()
        with self.assertRaises(NotReady):
            self.driver.read_into(out)
        self.assertEqual(out, [0, 0, 0])
        self.bench.now_ms += 10
        self.driver.read_into(out)
        self.assertAlmostEqual(out[0], 2100, delta=1)

    def test_the_second_reading_is_not_the_first_again(self):
        self.bench.read(self.driver)
        self.bench.world["temperature_mc"] = 30000
        self.assertAlmostEqual(self.bench.read(self.driver)[0], 3000, delta=1)

    def test_a_bmp280_has_no_humidity(self):
        bench = Bench("bme280", variant="bmp280")
        driver = bme280.Driver(I2C(bench), sensor_config("bme280"))
        out = bench.read(driver)
        self.assertAlmostEqual(out[2], 101325, delta=2)
        self.assertEqual(bytes(driver.quality), bytes([0, quality.WRONG_PART, 0]))

    def test_faults(self):
        for fault, code in (
            (bus.FAULT_STUCK, quality.TIMEOUT),
            (bus.FAULT_IMPLAUSIBLE, quality.IMPLAUSIBLE),
        ):
            self.bench.world["fault"] = fault
            self.assertEqual(self.bench.code(self.driver), code)
        self.bench.world["fault"] = 0
        self.assertEqual(self.bench.code(self.driver), 0)

    def test_another_part_at_the_address(self):
        self.bench.part._registers[0xD0] = 0x55
        self.assertEqual(self.bench.code(self.driver), quality.WRONG_PART)

    def test_absent_and_not_acknowledging(self):
        for fault in (bus.FAULT_ABSENT, bus.FAULT_NAK):
            self.bench.world["fault"] = fault
            with self.assertRaises(OSError):
                self.bench.read(self.driver)
        self.bench.world["fault"] = 0
        self.assertEqual(self.bench.code(self.driver), 0)

    def test_after_a_power_loss_of_the_chip(self):
        self.bench.read(self.driver)
        self.bench.part._power_on()
        self.driver.reset()
        self.assertAlmostEqual(self.bench.read(self.driver)[2], 101325, delta=2)
