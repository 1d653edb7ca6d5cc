"""`read_into` allocates nothing: all drivers of I2C parts, with the heap locked (on the VM).

A reading is taken over the simulated bus, with what the part answered on tape; the next one gets
the same answers from the tape, which does not allocate either, as a C driver does not.
"""

import unittest

from micropython import heap_lock, heap_unlock
from node.drivers.sensor import NotReady, module_of
from simulated_bus import I2C, Bench, sensor_config

# Not bme280 and bme680: their pressure formulas want 64 bits (BST-BME280-DS002 section 4.2.3),
# which are big integers in MicroPython.
_APART_MS = 6000  # a new value every time: then each reading takes the same steps
_I2C = "ads1115 aht20 bh1750 ina219 lis3dh mpu6050 scd4x sht3x sht4x veml7700"


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
    def locked(self, name):
        bench = Bench(name)
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

    def test_every_driver(self):
        failed = []
        for name in _I2C.split():
            try:
                self.locked(name)
            except Exception as error:
                failed.append((name, str(error)))
        self.assertEqual(failed, [])
