"""A pin that switches the supply of one or more sensors. Off until somebody takes it."""

import time

import machine


class Rail:
    """On while at least one of its users has taken it."""

    def __init__(self, number: int) -> None:
        self._pin = machine.Pin(number, machine.Pin.OUT, value=0)
        self._users = 0
        self._since = 0

    def take(self) -> None:
        if not self._users:
            self._pin.value(1)
            self._since = time.ticks_ms()
        self._users += 1

    def give(self) -> None:
        self._users -= 1
        if not self._users:
            self._pin.value(0)

    def age_ms(self) -> int:
        """How long the supply has been on."""
        return time.ticks_diff(time.ticks_ms(), self._since)
