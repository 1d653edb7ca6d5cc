"""An I2C bus that can be freed when a part holds it.

A part that was reset or disturbed in the middle of a byte may hold SDA low for ever, waiting for
clocks. Nine of them end any byte, and a STOP leaves every part idle (UM10204, I2C-bus
specification, section 3.1.16).
"""

import time

import machine

_HZ = 100000
_HALF_US = 5  # half a clock at 100 kHz
_CLOCKS = 9


class I2cBus:
    """The methods of machine.I2C that drivers use, over a peripheral that can be made again."""

    def __init__(self, number: int, scl, sda) -> None:
        self._number = number
        self._scl = scl
        self._sda = sda
        self.recoveries = 0
        self._claim()

    def _claim(self) -> None:
        i2c = machine.I2C(self._number, scl=self._scl, sda=self._sda, freq=_HZ)
        # Bound methods once: no allocation and no detour per transfer.
        self.scan = i2c.scan
        self.readfrom_into = i2c.readfrom_into
        self.readfrom_mem_into = i2c.readfrom_mem_into
        self.writeto = i2c.writeto
        self.writeto_mem = i2c.writeto_mem

    def recover(self) -> bool:
        """Clock a held bus free. True when SDA is high again."""
        scl, sda = self._scl, self._sda
        sda.init(machine.Pin.IN, machine.Pin.PULL_UP)
        scl.init(machine.Pin.OPEN_DRAIN, value=1)
        for _ in range(_CLOCKS):
            if sda.value():
                break
            scl.value(0)
            time.sleep_us(_HALF_US)
            scl.value(1)
            time.sleep_us(_HALF_US)
        free = bool(sda.value())
        sda.init(machine.Pin.OPEN_DRAIN, value=0)
        time.sleep_us(_HALF_US)
        sda.value(1)  # SDA rises while SCL is high: STOP
        self.recoveries += 1
        self._claim()
        return free
