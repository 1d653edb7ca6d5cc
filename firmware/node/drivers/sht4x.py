"""Sensirion SHT40/SHT41/SHT45: temperature and humidity over I2C.

Source: data sheet SHT4x, version 6.6: checksum section 4.4, commands section 4.5, conversion
section 4.6, measurement time 8.3 ms at most. No worked example of a conversion there; the CRC has
one. The serial number (command 0x89) names no family, so there is no id to check.

One measurement of high precision per reading; until it is done the part does not acknowledge a
read. Humidity may come out a little below 0 or above 100 %RH and is cropped, as section 4.6 says.
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

_MEASURE_HIGH = b"\xfd"
_READY_MS = const(9)  # 8.3 ms at most


def celsius_hundredths(raw: int) -> int:
    """T = -45 + 175 * S / (2**16 - 1)."""
    return scaled(raw, 17500) - 4500


def humidity_hundredths(raw: int) -> int:
    """RH = -6 + 125 * S / (2**16 - 1), cropped to 0..100."""
    return max(0, min(10000, scaled(raw, 12500) - 600))


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
        self._write(_MEASURE_HIGH)
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
