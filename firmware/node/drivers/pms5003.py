"""Plantower PMS5003: particles in air, over UART at 9600 baud.

Source: PMS5003 series data manual, version 2.3 (June 2016): frame, checksum and host commands in
the appendices on the transport protocol, range "Technical index", warm-up "Circuit attentions" 4.
The manual has no worked frame.

The part is put in passive mode and asked for a frame at each reading; one that ignores the command
and keeps sending by itself is understood just as well. What is reported is the concentration
"under atmospheric environment" (data 4..6). The fan runs all the time; after power-on the values
are not final for 30 s: the first `warming` readings (option, default 6) say so. After a frame with
a wrong checksum there is no reading.
"""

from micropython import const

from node.core import quality
from node.drivers.sensor import NotReady, Sensor, SensorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from node.core.config import SensorConfig

# ug/m3: secondary unit, RFC 8798
CHANNELS = (("pm1", "ug/m3", 0), ("pm2_5", "ug/m3", 0), ("pm10", "ug/m3", 0))

_HEAD = b"\x42\x4d\x00\x1c"  # start characters, frame length 2 * 13 + 2
_FRAME = const(32)
_PM1 = const(10)  # data 4, the first "under atmospheric environment"
_MOST = const(1000)  # "Technical index": maximum range
PASSIVE = b"\x42\x4d\xe1\x00\x00\x01\x70"
READ = b"\x42\x4d\xe2\x00\x00\x01\x71"
_READY_MS = const(60)  # 32 bytes at 9600 baud take 33.3 ms, the answer to PASSIVE 8.3 ms
_MOST_BYTES = const(96)  # taken in one go: what a UART keeps in the time of two polls, and more


def checksum_is_right(frame: "bytearray | bytes") -> bool:
    """The last two bytes are the sum of all others."""
    total = 0
    for index in range(_FRAME - 2):
        total += frame[index]
    return frame[_FRAME - 2] << 8 | frame[_FRAME - 1] == total


class Driver(Sensor):
    CHANNELS = CHANNELS
    deadline_ms = 2500  # active mode: a frame comes every 200 to 2300 ms

    def __init__(self, bus: "Any", config: "SensorConfig") -> None:
        Sensor.__init__(self, bus, config, _FRAME)
        self._warming = max(0, int(config.options.get("warming", 6)))
        self.reset()

    def reset(self) -> None:
        self._passive = False
        self._asked = False
        self._fill = 0
        self._left = self._warming

    def start(self) -> int:
        for _ in range(_MOST_BYTES):  # what came since the last reading is old
            if not self.bus.any():
                break
            self.bus.readinto(self._one)
        self._fill = 0
        if not self._passive:
            self.bus.write(PASSIVE)
            self._passive = True
        self.bus.write(READ)
        self._asked = True
        return _READY_MS

    def read_into(self, out: "list[int]") -> None:
        if not self._asked or not self._pull():
            raise NotReady
        frame = self._buffer
        self._fill = 0
        self._asked = False
        if not checksum_is_right(frame):
            raise SensorError(quality.CRC)
        for index in range(3):
            at = _PM1 + 2 * index
            value = frame[at] << 8 | frame[at + 1]
            if value > _MOST or (index and value < out[index - 1]):
                raise SensorError(quality.IMPLAUSIBLE)  # PM10 contains PM2.5 contains PM1
            out[index] = value
        code = quality.WARMING if self._left else quality.GOOD
        self._left -= 1 if self._left else 0
        for index in range(3):
            self.quality[index] = code

    def _pull(self) -> bool:
        """Take what has come; True when it is a whole frame."""
        for _ in range(_MOST_BYTES):
            if self._fill == _FRAME:
                return True
            if not self.bus.any():
                break
            self.bus.readinto(self._one)
            self._take(self._one[0])
        return self._fill == _FRAME

    def _take(self, byte: int) -> None:
        """Append `byte`, or begin again where it does not fit the head of a frame."""
        if self._fill < 4 and byte != _HEAD[self._fill]:
            self._fill = 0
            if byte != _HEAD[0]:
                return
        self._buffer[self._fill] = byte
        self._fill += 1
