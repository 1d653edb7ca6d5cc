"""node.drivers.bme680. The data sheet has no worked conversion: the integer formulas are held
against its floating-point ones (section 3.3, in the model's file); gas_wait_x has one
example."""

import unittest

from node.core import quality
from node.drivers import bme680
from node.drivers.sensor import NotReady
from simulated_bus import I2C, Bench, bus, sensor_config
from wire_faults import WireFaults


def trim_of(bench):
    registers = bench.part._registers
    return bme680.Trim(registers[0x89:0xA2], registers[0xE1:0xF1], registers[0x00:0x05])


class TestFormulas(unittest.TestCase):
    def setUp(self):
        bench = Bench("bme680")
        self.model = bench.module
        self.trim = trim_of(bench)

    def test_trimming_values_arrive_where_they_belong(self):
        self.assertEqual(self.trim.t, self.model.T)
        self.assertEqual(self.trim.p, self.model.P)
        self.assertEqual(self.trim.h, self.model.H)
        self.assertEqual(self.trim.g, self.model.G)
        self.assertEqual(self.trim.heat_range, self.model.HEAT_RANGE)
        self.assertEqual(self.trim.heat_value, self.model.HEAT_VALUE)
        self.assertEqual(self.trim.switching_error, self.model.SWITCHING_ERROR)

    def test_integer_against_floating_point(self):
        for raw_t in (300000, 420000, 500000, 580000):
            fine = bme680.fine_temperature(self.trim, raw_t)
            exact = self.model.t_fine(raw_t)
            celsius = bme680.celsius_hundredths(fine)
            self.assertAlmostEqual(celsius, self.model.celsius(raw_t) * 100, delta=1)
            for raw_p in (250000, 350000, 450000):
                pascal = self.model.pascal(raw_p, exact)
                self.assertAlmostEqual(bme680.pascal(self.trim, raw_p, fine), pascal, delta=10)
            for raw_h in (14000, 20000, 26000, 33000):
                humidity = self.model.relative_humidity(raw_h, exact) * 1000
                value = bme680.humidity_thousandths(self.trim, raw_h, fine)
                self.assertAlmostEqual(value, humidity, delta=60)

    def test_gas_integer_against_floating_point(self):
        for gas_range in range(16):
            for raw in (0, 1, 511, 512, 1023):
                exact = self.model.ohm(raw, gas_range)
                value = bme680.gas_ohm(self.trim, raw, gas_range)
                self.assertAlmostEqual(value, exact, delta=exact / 500 + 1)

    def test_heater_against_floating_point(self):
        for target in (200, 320, 400):
            for ambient in (-20, 0, 25, 60):
                register = bme680.heater_resistance(self.trim, target, ambient)
                reached = self.model.heater_target(register, ambient)
                self.assertAlmostEqual(reached, target, delta=4)

    def test_heater_wait_example(self):
        # Section 3.2.1, "Quick start": 0x59 selects 100 ms
        self.assertEqual(bme680.heater_wait(100), 0x59)
        self.assertEqual(bme680.heater_wait(63), 63)
        self.assertEqual(bme680.heater_wait(4032), 0xFF)
        for wait_ms in range(1, 4033, 13):
            code = bme680.heater_wait(wait_ms)
            exact = (code & 63) << 2 * (code >> 6)
            self.assertLessEqual(exact, wait_ms)
            self.assertGreater(exact * 1.3 + 1, wait_ms)

    def test_trimming_values_of_zero_do_not_divide(self):
        self.trim.p = (0,) * 10
        self.assertEqual(bme680.pascal(self.trim, 350000, 110000), 0)


class TestOnTheBus(unittest.TestCase, WireFaults):
    def setUp(self):
        self.bench = Bench("bme680")
        self.i2c = I2C(self.bench)
        self.driver = bme680.Driver(self.i2c, sensor_config("bme680"))

    def test_over_the_range(self):
        for celsius in (-3900, 0, 2150, 8400):
            for humidity in (500, 4500, 9900):
                for pascal in (31000, 101325, 109000):
                    for ohm in (1000, 50000, 5000000):
                        self.check(celsius, humidity, pascal, ohm)

    def check(self, celsius, humidity, pascal, ohm):
        world = self.bench.world
        world["temperature_mc"], world["humidity_milli"] = celsius * 10, humidity * 10
        world["pressure_pa"], world["gas_ohm"] = pascal, ohm
        out = self.bench.read(self.driver)
        self.assertAlmostEqual(out[0], celsius, delta=1)
        self.assertAlmostEqual(out[1], humidity, delta=8)
        self.assertAlmostEqual(out[2], pascal, delta=8)
        self.assertAlmostEqual(out[3], ohm, delta=ohm / 200)
        self.assertEqual(bytes(self.driver.quality), bytes(4))

    def test_too_early_is_refused(self):
        self.driver.start()
        for wait_ms in (0, 100):
            self.bench.now_ms += wait_ms
            with self.assertRaises(NotReady):
                self.driver.read_into([0] * 4)

    def test_the_second_reading_is_not_the_first_again(self):
        self.bench.read(self.driver)
        self.bench.world["temperature_mc"] = 30000
        self.assertAlmostEqual(self.bench.read(self.driver)[0], 3000, delta=1)

    def test_a_cold_plate(self):
        self.bench.world["heater_fails"] = 1
        out = self.bench.read(self.driver)
        self.assertAlmostEqual(out[0], 2100, delta=1)
        self.assertEqual(bytes(self.driver.quality), bytes((0, 0, 0, quality.WARMING)))

    def test_a_bme688_has_no_gas_here(self):
        bench = Bench("bme680", variant="bme688")
        driver = bme680.Driver(I2C(bench), sensor_config("bme680"))
        out = bench.read(driver)
        self.assertAlmostEqual(out[2], 101325, delta=8)
        self.assertIsNone(out[3])
        self.assertEqual(driver.quality[3], quality.WRONG_PART)

    def test_another_part_at_the_address(self):
        self.bench.part._registers[0xD0] = 0x60
        self.assertEqual(self.bench.code(self.driver), quality.WRONG_PART)

    def test_faults(self):
        for fault, code in (
            (bus.FAULT_STUCK, quality.TIMEOUT),
            (bus.FAULT_IMPLAUSIBLE, quality.IMPLAUSIBLE),
        ):
            self.bench.world["fault"] = fault
            self.assertEqual(self.outcome(), code)
            self.good_again()

    def test_after_a_power_loss_of_the_chip(self):
        self.bench.read(self.driver)
        self.bench.part._power_on()
        self.driver.reset()
        self.assertAlmostEqual(self.bench.read(self.driver)[2], 101325, delta=8)
