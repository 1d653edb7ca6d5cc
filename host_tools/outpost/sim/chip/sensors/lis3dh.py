"""Model of an STMicroelectronics LIS3DH. World: x_mg, y_mg, z_mg.

In high-resolution mode what it shows before 7 / ODR is over is half of what it settles at (data
sheet DocID17530 revision 2, table 10 says only that it takes so long).
"""

from ..bus import FAULT_IMPLAUSIBLE, FAULT_STUCK
from .registers import BytePart

_MG = (1, 2, 4, 12)
_PERIODS_US = (0, 1000000, 100000, 40000, 20000, 10000, 5000, 2500)


class Part(BytePart):
    address = 0x18
    auto = 0x80

    def power_on(self):
        self.registers = bytearray(256)
        self.registers[0x0F] = 0x33
        self.registers[0x20] = 0x07
        self._next_at = None

    def wrote(self, register, value):
        self.registers[register] = value
        if register == 0x20:
            self._period_us = _PERIODS_US[value >> 4 & 7]
            self._on_ms = self.now_ms()
            self._next_at = self._on_ms + self._period_us // 1000 if self._period_us else None

    def about_to_read(self, register, size):
        stuck = self.fault == FAULT_STUCK
        if self._next_at is not None and self.now_ms() >= self._next_at and not stuck:
            self._sample()
            self._next_at = self.now_ms() + self._period_us // 1000
            self.registers[0x27] = 0x0F

    def read(self, size):
        out = BytePart.read(self, size)
        if self._pointer & 0x7F == 0x28:
            self.registers[0x27] = 0
        return out

    def _sample(self):
        sensitivity = _MG[self.registers[0x23] >> 4 & 3]
        settled = (self.now_ms() - self._on_ms) * 1000 >= 7 * self._period_us
        for axis in range(3):
            mg = self.world("xyz"[axis] + "_mg", 1000 if axis == 2 else 0)
            if not settled:
                mg //= 2
            digit = (
                4000 if self.fault == FAULT_IMPLAUSIBLE else (mg + sensitivity // 2) // sensitivity
            )
            word = max(-2048, min(2047, digit)) << 4 & 0xFFFF
            self.registers[0x28 + 2 * axis] = word & 0xFF
            self.registers[0x29 + 2 * axis] = word >> 8
