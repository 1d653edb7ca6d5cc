"""Capacitive soil moisture ("v1.2" and its relatives), at an analogue input.

There is no data sheet. The sensor's voltage falls from `dry_mv` in air to `wet_mv` in water, and
moisture is the straight line between them: 0 % dry, 100 % wet. Both must be measured for each
sensor; the defaults are a common sensor at 3.3 V, to begin with.

product.toml: no `bus`; `pin`; options "dry_mv" (2300), "wet_mv" (900). Up to a tenth of the span
outside is drawn in to 0 or 100 % and marked `clipped`; farther out there is no sensor.
"""

from node.core import quality
from node.drivers.battery import trimmed_mean
from node.drivers.sensor import NotReady, Sensor, SensorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from node.core.config import SensorConfig

CHANNELS = (("moisture", "/", -3),)


def moisture_thousandths(pin_mv: int, dry_mv: int, wet_mv: int) -> int:
    """Outside of 0..1000 where the voltage is outside of dry..wet."""
    span = dry_mv - wet_mv
    return ((dry_mv - pin_mv) * 2000 + span) // (2 * span)


class Driver(Sensor):
    CHANNELS = CHANNELS

    def __init__(self, bus: "Any", config: "SensorConfig") -> None:
        Sensor.__init__(self, bus, config)
        self._pin = config.pin
        self._dry_mv = config.options.get("dry_mv", 2300)
        self._wet_mv = config.options.get("wet_mv", 900)
        self._analog: Any = None
        self._asked = False

    def start(self) -> int:
        if self._dry_mv == self._wet_mv:
            raise SensorError(quality.IMPLAUSIBLE)
        if self._analog is None:
            self._analog = self.bus.analog(self._pin)
        self._asked = True
        return 0

    def read_into(self, out: "list[int]") -> None:
        if not self._asked:
            raise NotReady
        self._asked = False
        pin_mv = trimmed_mean(self._analog)
        value = moisture_thousandths(pin_mv, self._dry_mv, self._wet_mv)
        if not -100 <= value <= 1100:
            raise SensorError(quality.IMPLAUSIBLE)
        out[0] = max(0, min(1000, value))
        self.quality[0] = quality.GOOD if out[0] == value else quality.CLIPPED
