"""STMicroelectronics LIS3DH: acceleration on three axes over I2C.

Source: LIS3DH data sheet DocID17530 revision 2 (December 2016): registers section 8, sensitivity
table 4, turn-on time table 10; application note AN3308, section 4.2.3 (examples of acceleration
data). Options: "range_g" (2, 4, 8, 16). High-resolution mode; 400 Hz, because what the part gives
before 7 samples' time is over is not settled: 17.5 ms, where 100 Hz would take 70 ms.
"""

from micropython import const

from node.core import quality
from node.drivers.sensor import NotReady, Sensor, SensorError, signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from node.core.config import SensorConfig

CHANNELS = (("x", "m/s2", -3), ("y", "m/s2", -3), ("z", "m/s2", -3))

_WHO_AM_I = const(0x0F)
_LIS3DH = const(0x33)
_CTRL_1 = const(0x20)
_CTRL_4 = const(0x23)
_STATUS = const(0x27)
_OUT = const(0xA8)  # 0x28 with the auto-increment bit (section 6.1.1)
_400_HZ = const(0x77)
_POWER_DOWN = const(0x07)
_NEW_DATA = const(0x08)
_READY_MS = const(18)  # table 10: 7 / ODR to turn on
_RANGES = (2, 4, 8, 16)
_MG_PER_DIGIT = (1, 2, 4, 12)  # table 4, high-resolution mode


def milli_g(low: int, high: int, sensitivity: int) -> int:
    """A left-justified 12-bit register pair -> thousandths of g."""
    return (signed(high << 8 | low, 16) >> 4) * sensitivity


def compensate(mg: int) -> int:
    """Thousandths of g -> mm/s2 (g = 9.80665 m/s2)."""
    value = mg * 980665
    return -((-value + 50000) // 100000) if value < 0 else (value + 50000) // 100000


class Driver(Sensor):
    CHANNELS = CHANNELS
    ADDRESS = 0x18
    deadline_ms = 150

    def __init__(self, bus: "Any", config: "SensorConfig") -> None:
        Sensor.__init__(self, bus, config, 6)
        range_g = config.options.get("range_g", 2)
        self._range = _RANGES.index(range_g) if range_g in _RANGES else 0
        self._known = self._asked = False

    def reset(self) -> None:
        self._known = self._asked = False

    def start(self) -> int:
        if not self._known:
            if self._read_byte(_WHO_AM_I) != _LIS3DH:
                raise SensorError(quality.WRONG_PART)
            self._known = True
        # BDU: high and low byte of one sample; HR: 12 bits
        self._write_byte(_CTRL_4, 0x88 | self._range << 4)
        self._write_byte(_CTRL_1, _400_HZ)
        self._read_register(_OUT, 6)  # takes what is left of the time before: clears ZYXDA
        self._asked = True
        return _READY_MS

    def read_into(self, out: "list[int]") -> None:
        if not self._asked:
            raise NotReady
        if self._read_byte(_CTRL_1) != _400_HZ:
            raise SensorError(quality.IMPLAUSIBLE)  # it lost its power
        if not self._read_byte(_STATUS) & _NEW_DATA:
            raise NotReady
        data = self._read_register(_OUT, 6)
        sensitivity = _MG_PER_DIGIT[self._range]
        for axis in range(3):
            mg = milli_g(data[2 * axis], data[2 * axis + 1], sensitivity)
            out[axis] = compensate(mg)
            clipped = not -2047 < mg // sensitivity < 2047
            self.quality[axis] = quality.CLIPPED if clipped else quality.GOOD
        self._asked = False
        self._write_byte(_CTRL_1, _POWER_DOWN)
