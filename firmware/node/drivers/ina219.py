"""Texas Instruments INA219: bus voltage, current and power over I2C.

Source: SBOS448G (December 2015): registers section 8.6, worked example section 9.2.2.1, table 8.
Current is computed from the shunt voltage here (section 8.5.3), so no calibration register can be
lost when the part loses its power. Without one the part computes nothing, and its overflow flag
never rises: too much current is a shunt register at the end of its range (table 7).
Options: "shunt_mohm" (100), "range" ("16V" | "32V").
"""

from micropython import const

from node.core import quality
from node.drivers.sensor import NotReady, Sensor, SensorError, pack, signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from node.core.config import SensorConfig

CHANNELS = (("voltage", "V", -3), ("current", "A", -5), ("power", "W", -3))

_CONFIG = const(0)
_SHUNT = const(1)
_BUS = const(2)
# PGA /8 (320 mV), both ADCs 12 bit averaged 16 times (8.51 ms each), both triggered
_SETUP_16V = const(0x1E63)
_SETUP_32V = const(0x3E63)
_READY_MS = const(18)
_CONVERTED = const(2)  # CNVR in the bus voltage register
_FULL_SCALE = const(32000)  # 320 mV: from there on table 7 has 7D00h and 8300h


def compensate(shunt: int, bus: int, shunt_mohm: int, out: "list[int]") -> None:
    """Raw registers -> mV, tens of microamperes, mW."""
    out[0] = (bus >> 3) * 4
    # 10 uV per count over milliohms: 10 uV / 1 mOhm = 10 mA = 1000 tens of uA
    out[1] = _rounded(shunt * 1000, shunt_mohm)
    out[2] = _rounded(out[0] * out[1], 100000)


def _rounded(value: int, divisor: int) -> int:
    if value < 0:
        return -((-value + divisor // 2) // divisor)
    return (value + divisor // 2) // divisor


class Driver(Sensor):
    CHANNELS = CHANNELS
    ADDRESS = 0x40
    deadline_ms = 200

    def __init__(self, bus: "Any", config: "SensorConfig") -> None:
        Sensor.__init__(self, bus, config, 2)
        self._shunt_mohm = int(config.options.get("shunt_mohm", 100)) or 100
        wide = config.options.get("range", "32V") == "32V"
        self._set = _SETUP_32V if wide else _SETUP_16V
        self._asked = False

    def reset(self) -> None:
        self._asked = False

    def start(self) -> int:
        self._asked = True
        self.bus.writeto_mem(self.address, _CONFIG, pack(">H", self._set))
        return _READY_MS

    def _word(self, register: int) -> int:
        data = self._read_register(register, 2)
        return data[0] << 8 | data[1]

    def read_into(self, out: "list[int]") -> None:
        if not self._asked:
            raise NotReady
        if self._word(_CONFIG) != self._set:
            raise SensorError(quality.IMPLAUSIBLE)  # the reset value 0x399F: power was lost
        bus = self._word(_BUS)
        if not bus & _CONVERTED:
            raise NotReady
        self._asked = False
        shunt = signed(self._word(_SHUNT), 16)
        compensate(shunt, bus, self._shunt_mohm, out)
        code = quality.GOOD if abs(shunt) < _FULL_SCALE else quality.CLIPPED
        self.quality[1] = self.quality[2] = code
