"""Rohm BH1750FVI: illuminance over I2C.

Source: BH1750FVI technical note, Rev. D (November 2011), which numbers no sections: "Instruction
set architecture", the worked example of "Measurement sequence example" (0x8390 -> 28067 lx),
measurement time "Electrical characteristics" (H-resolution: 180 ms at most).

One single measurement per reading. The part has no id, no CRC and no ready flag: the data register
is cleared at start (the reset instruction), so an old value cannot come again, but a part that
never finishes is as dark as the night. A full register is `clipped`: more light than it can tell.
"""

from micropython import const

from node.core import quality
from node.drivers.sensor import NotReady, Sensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from node.core.config import SensorConfig

CHANNELS = (("illuminance", "lx", -1),)

_POWER_ON = b"\x01"
_RESET = b"\x07"
_ONE_H_RESOLUTION = b"\x20"
_FULL = const(0xFFFF)
_READY_MS = const(180)


def lux_tenths(raw: int) -> int:
    """Counts / 1.2 lx."""
    return (raw * 25 + 1) // 3


class Driver(Sensor):
    CHANNELS = CHANNELS
    ADDRESS = 0x23  # ADDR pin low
    deadline_ms = 300

    def __init__(self, bus: "Any", config: "SensorConfig") -> None:
        Sensor.__init__(self, bus, config, 2)
        self._asked = False

    def reset(self) -> None:
        self._asked = False

    def start(self) -> int:
        self._write(_POWER_ON)
        self._write(_RESET)
        self._write(_ONE_H_RESOLUTION)
        self._asked = True
        return _READY_MS

    def read_into(self, out: "list[int]") -> None:
        if not self._asked:
            raise NotReady
        data = self._read(2)
        self._asked = False
        raw = data[0] << 8 | data[1]
        out[0] = lux_tenths(raw)
        self.quality[0] = quality.CLIPPED if raw == _FULL else quality.GOOD
