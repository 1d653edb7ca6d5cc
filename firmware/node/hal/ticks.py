"""The device's own time: uptime in ms that never wraps, and the chip's clock as Unix time.

Owns two portability traps: `time.ticks_ms()` wraps (2**30 ms on 32-bit ports, twelve days), and
`time.time()` counts from 2000 on ESP32 and from 1970 elsewhere.
"""

import time

import machine

_EPOCH_2000 = 946684800  # Unix time of 2000-01-01
_EPOCH_S = _EPOCH_2000 if time.gmtime(0)[0] == 2000 else 0


class Ticks:
    """Uptime since boot. Ask at least once in six days (the supervisor does, every second).

    `start_ms` is the uptime by now, for a boot that goes on after a sleep.
    """

    def __init__(self, start_ms: int = 0) -> None:
        self._last = time.ticks_ms()
        self._uptime_ms = start_ms

    def uptime_ms(self) -> int:
        now = time.ticks_ms()
        self._uptime_ms += time.ticks_diff(now, self._last)
        self._last = now
        return self._uptime_ms


def chip_unix_s() -> int:
    """The chip's own clock as Unix seconds; 2000 or 2021 when nobody has set it."""
    return int(time.time()) + _EPOCH_S


def set_chip_clock(unix_s: int) -> None:
    """Set the chip's clock: TLS checks certificates' dates against it."""
    year, month, day, hour, minute, second, weekday, _ = time.gmtime(unix_s - _EPOCH_S)[:8]
    machine.RTC().datetime((year, month, day, weekday, hour, minute, second, 0))
