"""Each fault of a wire or a part gives its quality code, with every driver of an I2C part, and the
next reading after it is good. The sense task counts the codes and retries (test_sense)."""

import unittest

from node.core import quality
from node.drivers.sensor import NotReady, module_of
from node.tasks.sense import code_of
from simulated_bus import I2C, Bench, bus, sensor_config

_WITH_CRC = "aht20 scd4x sht3x sht4x"
_WITHOUT = "ads1115 bh1750 bme280 bme680 ina219 lis3dh mpu6050 veml7700"
# Any code of these converters is a possible light or voltage, and two parts have no ready bit.
_CANNOT_TELL = (
    ("ads1115", bus.FAULT_IMPLAUSIBLE),
    ("bh1750", bus.FAULT_IMPLAUSIBLE),
    ("bh1750", bus.FAULT_STUCK),
    ("veml7700", bus.FAULT_STUCK),
)
_CODES = (
    (bus.FAULT_ABSENT, (quality.ABSENT,)),
    (bus.FAULT_NAK, (quality.ABSENT,)),
    (bus.FAULT_HANG, (quality.BUS, quality.ABSENT)),
    (bus.FAULT_CRC, (quality.CRC,)),
    (bus.FAULT_STUCK, (quality.TIMEOUT,)),
    (bus.FAULT_IMPLAUSIBLE, (quality.IMPLAUSIBLE, quality.CLIPPED)),
)


class Rig:
    def __init__(self, name):
        self.bench = Bench(name)
        self.i2c = I2C(self.bench)
        self.driver = module_of(name).Driver(self.i2c, sensor_config(name))

    def outcome(self):
        self.bench.now_ms += 6000
        try:
            self.bench.read(self.driver)
        except (NotReady, Exception) as error:  # noqa: B014
            self.driver.reset()
            return code_of(error)
        return max(self.driver.quality)

    def cure(self):
        self.bench.world["fault"] = 0
        for _ in range(9):
            self.i2c.lines.clock()


class TestEveryFault(unittest.TestCase):
    def test_code_and_recovery(self):
        wrong = []
        for name in (_WITH_CRC + " " + _WITHOUT).split():
            for fault, codes in _CODES:
                if fault == bus.FAULT_CRC and name in _WITHOUT.split():
                    continue
                if (name, fault) in _CANNOT_TELL:
                    continue
                rig = Rig(name)
                if rig.outcome() != quality.GOOD:
                    wrong.append((name, fault, "not good before"))
                rig.bench.world["fault"] = fault
                if fault == bus.FAULT_HANG:
                    rig.outcome()
                code = rig.outcome()
                if code not in codes:
                    wrong.append((name, fault, quality.name(code)))
                rig.cure()
                if rig.outcome() != quality.GOOD and rig.outcome() != quality.GOOD:
                    wrong.append((name, fault, "not good after"))
        self.assertEqual(wrong, [])
