"""Sensirion SCD40, SCD41: carbon dioxide, temperature and humidity over I2C.

Source: data sheet SCD4x, version 1.5 (July 2023): commands section 3.4, table 9, periodic
measurement and its worked example section 3.5.2, table 11, data ready status section 3.8.2,
checksum section 3.11. The part measures by itself every 5 s from the first `start` on: stopping
and starting it for each reading would cost its accuracy. Options: "low_power" (true: every 30 s,
section 3.8.1).
"""

from micropython import const

from node.core import quality
from node.drivers.sensirion import Sensirion, scaled, word
from node.drivers.sensor import NotReady, SensorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from node.core.config import SensorConfig

CHANNELS = (("co2", "ppm", 0), ("temperature", "Cel", -2), ("humidity", "%RH", -2))

_START = const(0x21B1)
_START_LOW_POWER = const(0x21AC)
_READ = const(0xEC05)
_DATA_READY = const(0xE4B8)
_PERIOD_MS = const(5000)
_PERIOD_LOW_POWER_MS = const(30000)
_ANSWER_MS = const(1)  # table 9
_NEW_DATA = const(0x07FF)  # section 3.8.2: none of the 11 low bits set means no data
_CO2_MAX_PPM = const(40000)


def compensate(raw: "list[int] | tuple[int, int, int]", out: "list[int]") -> None:
    """Raw (CO2, temperature, humidity) -> `out` in the scale of CHANNELS (section 3.5.2)."""
    out[0] = raw[0]
    out[1] = scaled(raw[1], 17500) - 4500
    out[2] = scaled(raw[2], 10000)


class Driver(Sensirion):
    CHANNELS = CHANNELS
    ADDRESS = 0x62

    def __init__(self, bus: "Any", config: "SensorConfig") -> None:
        Sensirion.__init__(self, bus, config, 9)
        self._low_power = bool(config.options.get("low_power"))
        self._period_ms = _PERIOD_LOW_POWER_MS if self._low_power else _PERIOD_MS
        self.deadline_ms = self._period_ms * 3 // 2
        self._measuring = False
        self._raw = [0, 0, 0]
        self._asked = 0

    def reset(self) -> None:
        self._measuring = False
        self._asked = 0

    def start(self) -> int:
        if self._measuring:
            self._ask(_DATA_READY)
            return _ANSWER_MS
        try:
            self._command(_START_LOW_POWER if self._low_power else _START)
        except OSError:
            # One that has been measuring since before our reset refuses the command (section
            # 3.4); one that is gone refuses this question as well.
            self._ask(_DATA_READY)
            self._measuring = True
            return _ANSWER_MS
        self._measuring = True
        self._asked = _START
        return self._period_ms

    def _ask(self, command: int) -> None:
        """An answer takes 1 ms (table 9): it is read the next time."""
        self._command(command)
        self._asked = command

    def read_into(self, out: "list[int]") -> None:
        asked = self._asked
        if asked == _READ:
            self._take(out)
            return
        if asked == _DATA_READY and word(self._words(1), 0) & _NEW_DATA:
            self._ask(_READ)
        elif asked:
            self._ask(_DATA_READY)
        raise NotReady

    def _take(self, out: "list[int]") -> None:
        data = self._words(3)
        self._asked = 0
        raw = self._raw
        for at in range(3):
            raw[at] = word(data, at)
        # 0 ppm is what the part says before its first measurement is done.
        if not 0 < raw[0] <= _CO2_MAX_PPM:
            raise SensorError(quality.IMPLAUSIBLE)
        compensate(raw, out)
