"""The weather around the simulated boards: slow waves, so that there is something to measure.

Owns one thread that writes what the sensors will see into the boards' world values. The boards
know nothing of it: they read registers.
"""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outpost.sim import SimBoard

_STEP_S = 0.5
_SWING = (0.4, 3.0, 0.6)  # degrees Celsius, percent of humidity, hectopascal
_PERIOD_S = (40.0, 70.0, 110.0)


@dataclass(frozen=True)
class Climate:
    """Means of one place: degrees Celsius, percent relative humidity, hectopascal."""

    temperature_c: float
    humidity_pct: float
    pressure_hpa: float

    def at(self, seconds: float) -> tuple[float, float, float]:
        """What it is after so many seconds; starts at the means."""
        means = (self.temperature_c, self.humidity_pct, self.pressure_hpa)
        waves = zip(means, _SWING, _PERIOD_S, strict=True)
        t, h, p = (
            mean + swing * math.sin(2 * math.pi * seconds / period)
            for mean, swing, period in waves
        )
        return t, h, p


class Weather:
    """Moves the world of each board until closed."""

    def __init__(self) -> None:
        self._places: list[tuple[SimBoard, Climate]] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._blow, name="weather", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def over(self, board: "SimBoard", climate: Climate) -> None:
        """Put a board into a climate, from now on."""
        _show(board, climate.at(0))
        self._places = [*self._places, (board, climate)]

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(2)

    def _blow(self) -> None:
        seconds = 0.0
        while not self._closing.wait(_STEP_S):
            seconds += _STEP_S
            for board, climate in self._places:
                _show(board, climate.at(seconds))


def _show(board: "SimBoard", values: Sequence[float]) -> None:
    temperature_c, humidity_pct, pressure_hpa = values
    board.world["bme280.temperature_mc"] = round(temperature_c * 1000)
    board.world["bme280.humidity_milli"] = round(humidity_pct * 1000)
    board.world["bme280.pressure_pa"] = round(pressure_hpa * 100)
