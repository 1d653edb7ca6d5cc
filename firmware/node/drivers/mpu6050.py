"""InvenSense MPU-6050: acceleration and rotation on three axes, die temperature, over I2C.

Source: "MPU-6000 and MPU-6050 Register Map and Descriptions", RM-MPU-6000A-00 revision 4.2 (August
2013): interrupts sections 4.15 and 4.16, sensitivity sections 4.17 and 4.19, temperature section
4.18, power section 4.28; gyroscope start-up 30 ms in the product specification, PS-MPU-6000A-00
revision 3.4, section 6.1. Rotation is in 1/s: SenML registers no rad/s, and the radian has no
dimension.
"""

from micropython import const

from node.core import quality
from node.drivers.sensor import NotReady, Sensor, SensorError, signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from node.core.config import SensorConfig

CHANNELS = (
    ("x", "m/s2", -3),
    ("y", "m/s2", -3),
    ("z", "m/s2", -3),
    ("rx", "1/s", -4),
    ("ry", "1/s", -4),
    ("rz", "1/s", -4),
    ("temperature", "Cel", -2),
)

_WHO_AM_I = const(0x75)
_MPU6050 = const(0x68)
_PWR_MGMT_1 = const(0x6B)
_INT_ENABLE = const(0x38)
_INT_STATUS = const(0x3A)
_ACCEL_CONFIG = const(0x1C)
_DATA = const(0x3B)
_AWAKE = const(0x01)  # clock from the X gyroscope, as section 4.28 recommends
_SLEEP = const(0x40)
_DATA_READY = const(0x01)  # in both: the status is that of an interrupt that is enabled
_READY_MS = const(40)


def compensate(raw: "list[int]", out: "list[int]") -> None:
    """Raw (x, y, z, temperature, rx, ry, rz) -> `out` in the scale of CHANNELS."""
    for axis in range(3):
        counts = raw[axis]  # 16384 per 9.80665 m/s2; in two steps that stay within 30 bits
        out[axis] = _rounded(counts * 9806 + counts * 65 // 100, 16384)
        counts = raw[4 + axis]  # 131 per degree/s (+-250 degree/s); pi / 180 = 0.0174533
        out[3 + axis] = _rounded(counts * 17453 + counts * 3 // 10, 13100)
    out[6] = _rounded(raw[3] * 100, 340) + 3653


def _rounded(value: int, divisor: int) -> int:
    if value < 0:
        return -((-value + divisor // 2) // divisor)
    return (value + divisor // 2) // divisor


class Driver(Sensor):
    CHANNELS = CHANNELS
    ADDRESS = 0x68
    deadline_ms = 250

    def __init__(self, bus: "Any", config: "SensorConfig") -> None:
        Sensor.__init__(self, bus, config, 14)
        self._known = self._asked = False
        self._raw = [0] * 7

    def reset(self) -> None:
        self._known = self._asked = False

    def start(self) -> int:
        if not self._known:
            if self._read_byte(_WHO_AM_I) != _MPU6050:
                raise SensorError(quality.WRONG_PART)
            self._known = True
        self._write_byte(_PWR_MGMT_1, _AWAKE)
        self._write_byte(_ACCEL_CONFIG, 0)
        self._write_byte(_INT_ENABLE, _DATA_READY)
        self._read_byte(_INT_STATUS)  # reading clears it
        self._asked = True
        return _READY_MS

    def read_into(self, out: "list[int]") -> None:
        if not self._asked:
            raise NotReady
        if self._read_byte(_PWR_MGMT_1) != _AWAKE:
            raise SensorError(quality.IMPLAUSIBLE)  # the reset value: power was lost
        if not self._read_byte(_INT_STATUS) & _DATA_READY:
            raise NotReady
        data = self._read_register(_DATA, 14)
        for at in range(7):
            self._raw[at] = signed(data[2 * at] << 8 | data[2 * at + 1], 16)
        compensate(self._raw, out)
        for at in range(6):
            raw = self._raw[at if at < 3 else at + 1]  # the temperature is between them
            self.quality[at] = quality.CLIPPED if raw in (32767, -32768) else quality.GOOD
        self._asked = False
        self._write_byte(_PWR_MGMT_1, _SLEEP)
