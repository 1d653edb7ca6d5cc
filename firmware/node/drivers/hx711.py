"""Avia HX711: a load cell, on two pins of its own.

Source: HX711 data sheet ("24-Bit Analog-to-Digital Converter for Weigh Scales", no revision):
serial interface and table 3 (25, 26, 27 clocks: channel A gain 128, B gain 32, A gain 64), output
range "Output data rate and format", "Output settling time" among the electrical characteristics,
"Reset and power-down". It has no worked example, no id and no checksum.

product.toml: no `bus`; `pin` is DOUT; options "clock" (the pin PD_SCK is on), "gain" (128, 64, or
32: channel B), and for a scale "zero" (counts of the empty scale) and "counts_per_kg"; without
them the counts themselves are reported.

What the part has converted before `start` is dropped, and after power-on or a reset four more: the
settling time of 400 ms at 10 samples/s. DOUT that does not rise after the last clock is a wire,
not a part.
"""

from micropython import const

from node.core import quality
from node.drivers.sensor import NotReady, Sensor, SensorError, signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from node.core.config import SensorConfig

CHANNELS = (("counts", "count", 0),)
_MASS = (("mass", "kg", -3),)

_BITS = const(24)
_HIGHEST = const(0x7FFFFF)  # saturation: 7FFFFFh and 800000h
_LOWEST = const(-0x800000)
_PERIOD_MS = const(100)  # RATE pin low: 10 samples/s
_SETTLING = const(4)
_MORE_CLOCKS = {128: 1, 32: 2, 64: 3}


def channels(config: "SensorConfig") -> "tuple[tuple[str, str, int], ...]":
    return _MASS if config.options.get("counts_per_kg") else CHANNELS


def grams(counts: int, zero: int, counts_per_kg: int) -> int:
    """Rounded; `counts_per_kg` is negative for a cell that is mounted the other way round."""
    return ((counts - zero) * 2000 + counts_per_kg) // (2 * counts_per_kg)


class Driver(Sensor):
    deadline_ms = 1500  # twice the settling time (power-on, gain), and what is dropped then

    def __init__(self, bus: "Any", config: "SensorConfig") -> None:
        self.CHANNELS = channels(config)
        Sensor.__init__(self, bus, config)
        self._pins = (config.pin, config.options.get("clock", ""))
        self._more = _MORE_CLOCKS.get(config.options.get("gain", 128), 1)
        self._zero = config.options.get("zero", 0)
        self._counts_per_kg = config.options.get("counts_per_kg", 0)
        self._line: Any = None
        self.reset()

    def reset(self) -> None:
        self._drop = _SETTLING
        self._asked = False

    def start(self) -> int:
        if self._line is None:
            self._line = self.bus.shift_in(*self._pins)
        if self._line.ready():
            self._counts()
        self._asked = True
        return _PERIOD_MS

    def read_into(self, out: "list[int]") -> None:
        if not self._asked or not self._line.ready():
            raise NotReady
        counts = self._counts()
        if self._drop:
            self._drop -= 1
            raise NotReady
        self._asked = False
        out[0] = counts
        if self._counts_per_kg:
            out[0] = grams(counts, self._zero, self._counts_per_kg)
        clipped = counts in (_HIGHEST, _LOWEST)
        self.quality[0] = quality.CLIPPED if clipped else quality.GOOD

    def _counts(self) -> int:
        raw: int = self._line.read(_BITS, self._more)
        if self._line.ready():
            raise SensorError(quality.BUS)
        return signed(raw, _BITS)
