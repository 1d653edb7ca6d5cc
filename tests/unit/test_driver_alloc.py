"""`read_into` allocates nothing: all drivers of I2C parts, with the heap locked (on the VM).
Integers of 30 bits and more are objects on a chip's heap: the 32-bit VM has the same.

A reading is taken over the simulated bus, with what the part answered on tape; the next one gets
the same answers from the tape, which does not allocate either, as a C driver does not.
"""

import unittest

from micropython import heap_lock, heap_unlock
from node.drivers.sensor import NotReady, module_of
from simulated_bus import I2C, Bench, sensor_config

_APART_MS = 6000  # a new value every time: then each reading takes the same steps
_I2C = "ads1115 aht20 bh1750 bme280 bme680 ina219 lis3dh mpu6050 scd4x sht3x sht4x veml7700"


class Tape:
    """The bus: recording what comes over `i2c`, or playing it back."""

    def __init__(self, i2c):
        self.i2c = i2c
        self.answers = []
        self.playing = False
        self.recording = True
        self.at = 0

    def readfrom_into(self, address, buffer):
        if self.playing:
            self._play(buffer)
        else:
            self.i2c.readfrom_into(address, buffer)
            if self.recording:
                self.answers.append(bytes(buffer))

    def readfrom_mem_into(self, address, register, buffer):
        if self.playing:
            self._play(buffer)
        else:
            self.i2c.readfrom_mem_into(address, register, buffer)
            if self.recording:
                self.answers.append(bytes(buffer))

    def writeto(self, address, data):
        if not self.playing:
            self.i2c.writeto(address, data)

    def writeto_mem(self, address, register, data):
        if not self.playing:
            self.i2c.writeto_mem(address, register, data)

    def _play(self, buffer):
        answer = self.answers[self.at]
        self.at += 1
        for index in range(len(answer)):
            buffer[index] = answer[index]


def until_ready(bench, driver, tape, out):
    """A reading; -> how often it was not ready. The tape then has the answers to the last time."""
    bench.now_ms += _APART_MS + driver.start()
    for waited in range(1000):
        tape.answers.clear()
        try:
            driver.read_into(out)
            return waited
        except NotReady:
            bench.now_ms += 5
    raise NotReady


class TestNoAllocation(unittest.TestCase):
    def locked(self, name, world=()):
        bench = Bench(name)
        bench.world.update(world)
        tape = Tape(I2C(bench))
        driver = module_of(name).Driver(tape, sensor_config(name, options={"inputs": [0]}))
        out = [0] * len(driver.CHANNELS)
        until_ready(bench, driver, tape, out)
        waits = until_ready(bench, driver, tape, out)
        expected = list(out)
        tape.recording = False
        bench.now_ms += _APART_MS + driver.start()
        for _ in range(waits):
            with self.assertRaises(NotReady):
                driver.read_into(out)
            bench.now_ms += 5
        tape.playing = True
        heap_lock()
        try:
            driver.read_into(out)
        finally:
            heap_unlock()
        self.assertEqual(out, expected)

    def failures(self, cases):
        failed = []
        for name, world in cases:
            try:
                self.locked(name, world)
            except Exception as error:
                failed.append((name, world, str(error)))
        return failed

    def test_every_driver(self):
        self.assertEqual(self.failures([(name, {}) for name in _I2C.split()]), [])

    def test_over_the_range_of_what_computes_much(self):
        cases = []
        for celsius in (-39, 0, 84):
            for humidity, pascal, ohm in ((500, 31000, 1000), (99000, 109000, 12000000)):
                world = {"temperature_mc": celsius * 1000, "humidity_milli": humidity}
                world["pressure_pa"], world["gas_ohm"] = pascal, ohm
                cases += [("bme280", world), ("bme680", world)]
        for light in (0, 900000, 5000000, 90000000):
            cases.append(("veml7700", {"illuminance_mlx": light}))
        self.assertEqual(self.failures(cases), [])
