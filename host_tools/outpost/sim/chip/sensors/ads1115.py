"""Model of a Texas Instruments ADS1115. World: in0_uv .. in3_uv (microvolts)."""

from ..bus import FAULT_STUCK
from .registers import WordPart

_RANGES_MV = (6144, 4096, 2048, 1024, 512, 256, 256, 256)
_RATES = (8, 16, 32, 64, 128, 250, 475, 860)


class Part(WordPart):
    address = 0x48

    def power_on(self):
        self.registers = {0: 0, 1: 0x8583, 2: 0x8000, 3: 0x7FFF}
        self._ready_at = None

    def wrote(self, register, word):
        self.registers[register] = word & 0x7FFF if register == 1 else word
        if register == 1 and word & 0x8000:
            self._ready_at = self.now_ms() + 1000 // _RATES[word >> 5 & 7] + 1

    def fresh(self, register):
        stuck = self.fault == FAULT_STUCK
        if self._ready_at is not None and self.now_ms() >= self._ready_at and not stuck:
            self._ready_at = None
            self.registers[0] = self._convert()
        if register == 1:
            return self.registers[1] | (0 if self._ready_at is not None else 0x8000)
        return self.registers.get(register, 0)

    def _convert(self):
        setup = self.registers[1]
        volts = self.world("in%d_uv" % (setup >> 12 & 3), 1000000)
        code = (volts * 32768 + 500 * _RANGES_MV[setup >> 9 & 7]) // (
            1000 * _RANGES_MV[setup >> 9 & 7]
        )
        return max(-32768, min(32767, code)) & 0xFFFF
