"""ASAIR AHT20 (and AHT21, AHT25): temperature and humidity over I2C.

Source: AHT20 product manual, version 1.1 (April 2020): commands and status byte section 5.3,
reading section 5.4, conversion sections 6.1 and 6.2. Humidity and temperature have 20 bits each,
as version 1.0 draws them and section 6 computes. The manual has no worked example. The CRC is the
one of section 5.4: polynomial 0x31, start 0xFF, over status and data. The part has no id to check.

A part that says it is not calibrated (status bit 3) is initialised once and then waited for.
"""

from micropython import const

from node.core import quality
from node.drivers.sensor import NotReady, Sensor, SensorError, crc8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from node.core.config import SensorConfig

CHANNELS = (("temperature", "Cel", -2), ("humidity", "%RH", -2))

_INITIALISE = b"\xbe\x08\x00"
_MEASURE = b"\xac\x33\x00"
_STATUS = b"\x71"
_BUSY = const(0x80)
_CALIBRATED = const(0x08)
_READY_MS = const(80)  # section 5.4, step 2


def celsius_hundredths(raw: int) -> int:
    """T = S / 2**20 * 200 - 50; 20000 / 2**20 = 625 / 2**15."""
    return (raw * 625 + 16384 >> 15) - 5000


def humidity_hundredths(raw: int) -> int:
    """RH = S / 2**20 * 100; 10000 / 2**20 = 625 / 2**16."""
    return raw * 625 + 32768 >> 16


class Driver(Sensor):
    CHANNELS = CHANNELS
    ADDRESS = 0x38
    deadline_ms = 300

    def __init__(self, bus: "Any", config: "SensorConfig") -> None:
        Sensor.__init__(self, bus, config, 7)
        self.reset()

    def reset(self) -> None:
        self._initialised = False
        self._asked = False

    def start(self) -> int:
        self._write(_STATUS)
        status = self._read(1)[0]
        if not status & _CALIBRATED:
            if not self._initialised:
                self._write(_INITIALISE)
                self._initialised = True
            raise NotReady
        if status & _BUSY:
            raise NotReady
        self._write(_MEASURE)
        self._asked = True
        return _READY_MS

    def read_into(self, out: "list[int]") -> None:
        if not self._asked:
            raise NotReady
        data = self._read(7)
        if data[0] & _BUSY:
            raise NotReady
        if crc8(data, 0x31, 0xFF, 0, 6) != data[6]:
            raise SensorError(quality.CRC)
        self._asked = False
        celsius = celsius_hundredths((data[3] & 15) << 16 | data[4] << 8 | data[5])
        if not -4000 <= celsius <= 8500:  # operating range
            raise SensorError(quality.IMPLAUSIBLE)
        out[0] = celsius
        out[1] = humidity_hundredths(data[1] << 12 | data[2] << 4 | data[3] >> 4)
