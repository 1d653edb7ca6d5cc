"""Texas Instruments ADS1115: four single-ended voltages over I2C.

Source: SBAS444E (December 2024): config register section 8.1.3, full-scale ranges section 7.3.3,
table 7-1, output codes section 7.5.4, table 7-3. One channel per start, in turn, so a reading
takes four conversions of 8.8 ms at 128 SPS (10 % slow at worst). Options: "range_mv" (6144, 4096,
2048, 1024, 512, 256), "inputs" (list of 0..3).
"""

from micropython import const

from node.core import quality
from node.drivers.sensor import NotReady, Sensor, SensorError, signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from node.core.config import SensorConfig

CHANNELS = (("in0", "V", -4), ("in1", "V", -4), ("in2", "V", -4), ("in3", "V", -4))

_CONVERSION = const(0)
_CONFIG = const(1)
_RANGES = (6144, 4096, 2048, 1024, 512, 256)
_START = const(0x8000)
_SINGLE = const(0x4000)  # MUX 1xx: AINx against GND
_ONE_SHOT = const(0x0183)  # single shot, 128 SPS, comparator off
_CONVERTING_MS = const(9)


def channels(config: "SensorConfig") -> "tuple[tuple[str, str, int], ...]":
    """Only the inputs that the options name."""
    return tuple(CHANNELS[at] for at in _inputs(config))


def _inputs(config: "SensorConfig") -> "list[int]":
    named = config.options.get("inputs", [0, 1, 2, 3])
    return [at for at in named if at in (0, 1, 2, 3)] or [0]


def compensate(raw: int, range_mv: int) -> int:
    """A code of table 7-3 -> tenths of a millivolt: full scale is 32768 codes."""
    return raw * (range_mv * 5) + 8192 >> 14  # within 30 bits


class Driver(Sensor):
    ADDRESS = 0x48
    deadline_ms = 300

    def __init__(self, bus: "Any", config: "SensorConfig") -> None:
        self._inputs = _inputs(config)
        self.CHANNELS = channels(config)
        Sensor.__init__(self, bus, config, 2)
        range_mv = config.options.get("range_mv", 4096)
        self._range_mv = range_mv if range_mv in _RANGES else 4096
        self._gain = _RANGES.index(self._range_mv) << 9
        self._at = 0
        self._codes = [0, 0, 0, 0]
        self._asked = False

    def reset(self) -> None:
        self._asked = False

    def start(self) -> int:
        self._asked = True
        self._at = 0
        self._convert()
        return _CONVERTING_MS

    def _convert(self) -> None:
        setup = _START | _SINGLE | self._inputs[self._at] << 12 | self._gain | _ONE_SHOT
        self._write_pair(_CONFIG, setup >> 8, setup & 0xFF)

    def read_into(self, out: "list[int]") -> None:
        if not self._asked:
            raise NotReady
        config = self._word(_CONFIG)
        if not config & _START:
            raise NotReady
        if config & 0x0E00 != self._gain or config >> 12 & 3 != self._inputs[self._at]:
            raise SensorError(quality.IMPLAUSIBLE)  # the reset value: power was lost
        self._codes[self._at] = signed(self._word(_CONVERSION), 16)
        self._at += 1
        if self._at < len(self._inputs):
            self._convert()
            raise NotReady
        self._asked = False
        for at in range(len(self._inputs)):
            code = self._codes[at]
            out[at] = compensate(code, self._range_mv)
            self.quality[at] = quality.CLIPPED if code in (32767, -32768) else quality.GOOD

    def _word(self, register: int) -> int:
        data = self._read_register(register, 2)
        return data[0] << 8 | data[1]
