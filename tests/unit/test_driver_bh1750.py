"""node.drivers.bh1750 against the technical note's worked example and the model."""

import unittest

from node.core import quality
from node.drivers import bh1750
from simulated_bus import I2C, Bench, sensor_config
from wire_faults import WireFaults


class TestWorkedExample(unittest.TestCase):
    def test_measurement_sequence_example(self):
        # Technical note Rev. D, "Measurement sequence example": 10000011 10010000 is 28067 lx
        self.assertAlmostEqual(bh1750.lux_tenths(0b1000001110010000), 280670, delta=5)
        self.assertAlmostEqual(bh1750.lux_tenths(0b0000000100010000), 2720 / 1.2, delta=0.5)

    def test_ends_of_the_range(self):
        self.assertEqual(bh1750.lux_tenths(0), 0)
        self.assertEqual(bh1750.lux_tenths(65535), 546125)


class TestOnTheBus(unittest.TestCase, WireFaults):
    def setUp(self):
        self.bench = Bench("bh1750")
        self.i2c = I2C(self.bench)
        self.driver = bh1750.Driver(self.i2c, sensor_config("bh1750"))

    def test_over_the_range(self):
        for lux in (0, 1, 45, 500, 10000, 54000):
            self.bench.world["illuminance_mlx"] = lux * 1000
            self.assertAlmostEqual(self.bench.read(self.driver)[0], lux * 10, delta=9)
            self.assertEqual(self.driver.quality[0], quality.GOOD)

    def test_too_much_light_is_clipped(self):
        self.bench.world["illuminance_mlx"] = 100000000
        self.assertEqual(self.bench.read(self.driver), [546125])
        self.assertEqual(self.driver.quality[0], quality.CLIPPED)
        self.bench.world["illuminance_mlx"] = 1000
        self.bench.read(self.driver)
        self.assertEqual(self.driver.quality[0], quality.GOOD)

    def test_an_old_value_never_comes_again(self):
        self.bench.read(self.driver)
        self.driver.start()
        out = [None]
        self.driver.read_into(out)  # a caller that does not wait gets darkness, never 500 lx
        self.assertEqual(out, [0])
