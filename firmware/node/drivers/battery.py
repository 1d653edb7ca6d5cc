"""Battery voltage, by a divider of two resistors at an analogue input.

There is no part and no data sheet: V = V(pin) * (upper + lower) / lower. The pin's millivolts come
from the hal, which knows the chip (RP2040 data sheet section 4.9, ESP32 ADC calibration).

product.toml: no `bus`; `pin`; options "upper_kohm" (between battery and pin, default 100),
"lower_kohm" (between pin and ground, default 100), "lowest_mv" and "highest_mv" of the battery
(default 0 and 60000): what lies outside is a wire that has come off, not a battery.
A mean of 16 conversions, the highest and the lowest of 18 left out: the radio's bursts show.
"""

from micropython import const

from node.core import quality
from node.drivers.sensor import NotReady, Sensor, SensorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from node.core.config import SensorConfig

CHANNELS = (("voltage", "V", -3),)

_SAMPLES = const(18)


def trimmed_mean(analog: "Any") -> int:
    """Millivolts at the pin: the mean of all but the highest and the lowest."""
    total, lowest, highest = 0, 0x3FFFFFFF, 0
    for _ in range(_SAMPLES):
        value = analog.millivolts()
        total += value
        if value < lowest:
            lowest = value
        if value > highest:
            highest = value
    total -= lowest + highest
    return (total + (_SAMPLES - 2) // 2) // (_SAMPLES - 2)


def battery_millivolts(pin_mv: int, upper_kohm: int, lower_kohm: int) -> int:
    return (pin_mv * (upper_kohm + lower_kohm) + lower_kohm // 2) // lower_kohm


class Driver(Sensor):
    CHANNELS = CHANNELS

    def __init__(self, bus: "Any", config: "SensorConfig") -> None:
        Sensor.__init__(self, bus, config)
        options = config.options
        self._pin = config.pin
        self._upper_kohm = options.get("upper_kohm", 100)
        self._lower_kohm = options.get("lower_kohm", 100) or 1
        self._range_mv = (options.get("lowest_mv", 0), options.get("highest_mv", 60000))
        self._analog: Any = None
        self._asked = False

    def start(self) -> int:
        if self._analog is None:
            self._analog = self.bus.analog(self._pin)
        self._asked = True
        return 0

    def read_into(self, out: "list[int]") -> None:
        if not self._asked:
            raise NotReady
        self._asked = False
        pin_mv = trimmed_mean(self._analog)
        value = battery_millivolts(pin_mv, self._upper_kohm, self._lower_kohm)
        if not self._range_mv[0] <= value <= self._range_mv[1]:
            raise SensorError(quality.IMPLAUSIBLE)
        out[0] = value
