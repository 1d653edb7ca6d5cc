"""Model of a Vishay VEML7700. World: illuminance_mlx.

It answers with the counts whose corrected value (document 84323, evaluated in floating point: at
gains below 1 always, otherwise above 1000 lx) is the light there is.
"""

from ..bus import FAULT_IMPLAUSIBLE
from .registers import WordPart

_TIMES_MS = {0: 100, 1: 200, 2: 400, 3: 800, 8: 50, 12: 25}
_GAINS = (1.0, 2.0, 0.125, 0.25)


def corrected(lux, gain=0.125):
    if gain >= 1.0 and lux <= 1000.0:
        return lux
    return 6.0135e-13 * lux**4 - 9.3924e-9 * lux**3 + 8.1488e-5 * lux**2 + 1.0023 * lux


class Part(WordPart):
    address = 0x10
    big_endian = False

    def power_on(self):
        self.registers = {0: 1}
        self._ready_at = None

    def wrote(self, register, word):
        was_off = self.registers[0] & 1
        self.registers[register] = word
        if register == 0 and was_off and not word & 1:
            self._ready_at = self.now_ms() + 3 + _TIMES_MS.get(word >> 6 & 15, 100)

    def fresh(self, register):
        if register == 4 and self._ready_at is not None and self.now_ms() >= self._ready_at:
            self.registers[4] = self._counts()
        return self.registers.get(register, 0)

    def _counts(self):
        if self.fault == FAULT_IMPLAUSIBLE:
            return 0xFFFF
        setup = self.registers[0]
        gain = _GAINS[setup >> 11 & 3]
        per_count = 0.0042 * 2 / gain * 800 / _TIMES_MS.get(setup >> 6 & 15, 100)
        light = self.world("illuminance_mlx", 250000) / 1000.0
        low, high = 0, 0xFFFF
        while low < high:
            middle = (low + high) // 2
            if corrected(middle * per_count, gain) < light:
                low = middle + 1
            else:
                high = middle
        return low
