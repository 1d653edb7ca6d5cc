"""Sensirion SHT30/SHT31/SHT35: temperature and humidity over I2C.

Source: data sheet SHT3x-DIS, version 7 (December 2022): commands for single shots table 9 (section
4.3), checksum section 4.12, conversion section 4.13, measurement duration tables 4 and 5. The data
sheet has no worked example of a conversion; it has one of the CRC. The part has no id to check.

One single shot of high repeatability per reading, without clock stretching: until it is done the
part does not acknowledge a read (section 4.4).
"""

from micropython import const

from node.core import quality
from node.drivers.sensirion import Sensirion, scaled, word
from node.drivers.sensor import NotReady, SensorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from node.core.config import SensorConfig

CHANNELS = (("temperature", "Cel", -2), ("humidity", "%RH", -2))

_SINGLE_HIGH = const(0x2400)  # high repeatability, clock stretching off
_READY_MS = const(16)  # 15.5 ms at most below 2.4 V (table 5), else 15 (table 4)


def celsius_hundredths(raw: int) -> int:
    """T = -45 + 175 * S / (2**16 - 1)."""
    return scaled(raw, 17500) - 4500


def humidity_hundredths(raw: int) -> int:
    """RH = 100 * S / (2**16 - 1)."""
    return scaled(raw, 10000)


class Driver(Sensirion):
    CHANNELS = CHANNELS
    ADDRESS = 0x44
    deadline_ms = 100

    def __init__(self, bus: "Any", config: "SensorConfig") -> None:
        Sensirion.__init__(self, bus, config, 6)
        self._asked = False

    def reset(self) -> None:
        self._asked = False

    def start(self) -> int:
        self._command(_SINGLE_HIGH)
        self._asked = True
        return _READY_MS

    def read_into(self, out: "list[int]") -> None:
        if not self._asked:
            raise NotReady
        data = self._words(2)
        self._asked = False
        celsius = celsius_hundredths(word(data, 0))
        if not -4000 <= celsius <= 12500:  # operating range, table 2
            raise SensorError(quality.IMPLAUSIBLE)
        out[0] = celsius
        out[1] = humidity_hundredths(word(data, 1))
