"""Model of a Texas Instruments INA219. World: voltage_mv, current_ua. Config: shunt_mohm.

Not in it: the part's own current and power. Its calibration register is 0 and stays so, hence its
overflow flag (SBOS448G section 8.6.3.2) is never set.
"""

from ..bus import FAULT_IMPLAUSIBLE, FAULT_STUCK
from .registers import WordPart

_CONVERT_MS = 17


class Part(WordPart):
    address = 0x40

    def power_on(self):
        self.registers = {0: 0x399F, 5: 0}
        self._ready_at = None

    def wrote(self, register, word):
        self.registers[register] = word
        if register == 0:
            if word & 0x8000:
                self.power_on()
            elif word & 7 in (1, 2, 3):
                self._ready_at = self.now_ms() + _CONVERT_MS

    def fresh(self, register):
        stuck = self.fault == FAULT_STUCK
        if self._ready_at is not None and self.now_ms() >= self._ready_at and not stuck:
            self._ready_at = None
            self._convert()
        if register == 2:
            done = 0 if self._ready_at is not None else 2
            return self.registers.get(2, 0) & 0xFFFC | done
        return self.registers.get(register, 0)

    def _convert(self):
        shunt_mohm = self.config.get("shunt_mohm", 100)
        # uA * mOhm = nV; one count is 10 uV
        counts = self.world("current_ua", 50000) * shunt_mohm // 10000
        limit = 32000
        if self.fault == FAULT_IMPLAUSIBLE:
            counts = 2 * limit
        self.registers[1] = max(-limit, min(limit, counts)) & 0xFFFF
        self.registers[2] = self.world("voltage_mv", 5000) // 4 << 3
