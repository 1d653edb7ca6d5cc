"""Model of an InvenSense MPU-6050.

World: x_mg, y_mg, z_mg, rx_mdps, ry_mdps, rz_mdps, temperature_mc. Data ready shows in INT_STATUS
only where INT_ENABLE asks for it (RM-MPU-6000A-00 revision 4.2, sections 4.15 and 4.16).
"""

from ..bus import FAULT_IMPLAUSIBLE, FAULT_STUCK
from .registers import BytePart


class Part(BytePart):
    address = 0x68

    def power_on(self):
        self.registers = bytearray(256)
        self.registers[0x75] = self.config.get("who_am_i", 0x68)
        self.registers[0x6B] = 0x40
        self._next_at = None

    def wrote(self, register, value):
        self.registers[register] = value
        if register == 0x6B:
            self._next_at = None if value & 0x40 else self.now_ms() + 30

    def about_to_read(self, register, size):
        stuck = self.fault == FAULT_STUCK
        if self._next_at is not None and self.now_ms() >= self._next_at and not stuck:
            self._next_at = self.now_ms() + 1
            self._sample()
            self.registers[0x3A] |= self.registers[0x38] & 1

    def read(self, size):
        out = BytePart.read(self, size)
        if self._pointer == 0x3A:
            self.registers[0x3A] = 0
        return out

    def _sample(self):
        words = []
        for axis in "xyz":
            words.append(self.world(axis + "_mg", 1000 if axis == "z" else 0) * 16384 // 1000)
        words.append((self.world("temperature_mc", 25000) - 36530) * 340 // 1000)
        for axis in "xyz":
            words.append(self.world("r" + axis + "_mdps", 0) * 131 // 1000)
        for at in range(7):
            word = max(-32768, min(32767, words[at]))
            if self.fault == FAULT_IMPLAUSIBLE and at != 3:
                word = 32767
            self.registers[0x3B + 2 * at] = word >> 8 & 0xFF
            self.registers[0x3C + 2 * at] = word & 0xFF
