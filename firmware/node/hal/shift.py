"""Clocked bits on two pins of our own, for parts that no bus peripheral speaks to (HX711).

A clock that stays high for more than 60 us puts such a part to sleep (HX711 data sheet, "reset and
power-down"), so no interrupt may come while it is high.
"""

import machine


class ShiftIn:
    """`data` is read after each rising edge of `clock`; ready is data held low by the part."""

    def __init__(self, data: int, clock: int) -> None:
        self._data = machine.Pin(data, machine.Pin.IN, machine.Pin.PULL_UP)
        self._clock = machine.Pin(clock, machine.Pin.OUT, value=0)

    def ready(self) -> bool:
        return not self._data.value()

    def read(self, bits: int, more: int) -> int:
        """`bits` bits, most significant first, then `more` clocks."""
        data, clock = self._data, self._clock
        value = 0
        for index in range(bits + more):
            state = machine.disable_irq()
            clock.value(1)
            bit = data.value()
            clock.value(0)
            machine.enable_irq(state)
            if index < bits:
                value = value << 1 | bit
        return value
