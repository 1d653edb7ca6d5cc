"""Vishay VEML7700: ambient light over I2C, 0.03 lx to 140 klx.

Source: "VEML7700", document 84286, revision 1.8 (November 2024): registers, and 0.0042 lx per
count at gain 2 and 800 ms (older revisions said 0.0036; Vishay corrected it). Correction of the
non-linearity: "Designing the VEML7700 Into an Application", document 84323 (March 2025): at gain
1/8 always, at gain 1 above 1000 lx.

Measured at gain 1/8 and 100 ms: 16 * 8 times the finest resolution, 0.5376 lx per count. "gain": 1
in the options trades range for 0.0672 lx.
"""

from micropython import const

from node.core import quality
from node.drivers.sensor import NotReady, Sensor, SensorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from node.core.config import SensorConfig

CHANNELS = (("illuminance", "lx", -1),)

_CONFIG = const(0)
_ALS = const(4)
_GAIN_EIGHTH = const(0x1000)  # ALS_GAIN 12:11 = 10; ALS_IT 9:6 = 0000: 100 ms
_GAIN_ONE = const(0x0000)
_SHUT_DOWN = const(1)
_READY_MS = const(110)  # 2.5 ms to wake, then one integration, 5 % late
_LINEAR = const(10000)  # tenths of a lux, at gain 1


def compensate(raw: int, gain_one: bool) -> int:
    """Counts -> tenths of a lux, corrected as document 84323 says."""
    tenths = (raw * (672 if gain_one else 5376) + 500) // 1000
    if gain_one and tenths <= _LINEAR:
        return tenths
    # 6.0135e-13 x^4 - 9.3924e-9 x^3 + 8.1488e-5 x^2 + 1.0023 x, x in lux, by Horner's rule: with
    # x / 32768 in 14 bits and coefficients in 11 behind the point no product has 30 bits.
    x = (tenths + 10) // 20
    more = ((43332 * x >> 14) - 20654) * x >> 14
    more = (more + 5469) * x >> 11
    curve = (tenths >> 8) * more + ((tenths & 255) * more >> 8) + 32 >> 6
    return tenths + (tenths * 23 + 5000) // 10000 + curve


class Driver(Sensor):
    CHANNELS = CHANNELS
    ADDRESS = 0x10
    deadline_ms = 400

    def __init__(self, bus: "Any", config: "SensorConfig") -> None:
        Sensor.__init__(self, bus, config, 2)
        self._gain_one = config.options.get("gain") == 1
        self._set = _GAIN_ONE if self._gain_one else _GAIN_EIGHTH
        self._asked = False

    def reset(self) -> None:
        self._asked = False

    def start(self) -> int:
        self._asked = True
        self._configure(self._set | _SHUT_DOWN)  # restarts the integration
        self._configure(self._set)
        return _READY_MS

    def _configure(self, value: int) -> None:
        self._write_pair(_CONFIG, value & 0xFF, value >> 8)

    def read_into(self, out: "list[int]") -> None:
        if not self._asked:
            raise NotReady
        data = self._read_register(_CONFIG, 2)
        if data[0] | data[1] << 8 != self._set:
            raise SensorError(quality.IMPLAUSIBLE)  # it lost its power, and with it its gain
        data = self._read_register(_ALS, 2)
        raw = data[0] | data[1] << 8
        self._asked = False
        self._configure(self._set | _SHUT_DOWN)
        self.quality[0] = quality.CLIPPED if raw == 0xFFFF else quality.GOOD
        out[0] = compensate(raw, self._gain_one)
