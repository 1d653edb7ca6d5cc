"""Parts whose registers are words: a pointer, two bytes per register, in either byte order."""

from ..bus import I2cPart


class WordPart(I2cPart):
    """`registers`: number to word; `wrote(register, word)` and `fresh(register)` are hooks."""

    big_endian = True

    def __init__(self, surroundings, config):
        I2cPart.__init__(self, surroundings, config)
        self.registers = {}
        self._pointer = 0
        self.power_on()

    def power_on(self):
        """Reset values; tests call it for a part that loses its supply."""

    def wrote(self, register, word):
        self.registers[register] = word

    def fresh(self, register):
        """The register as it is when it is read."""
        return self.registers.get(register, 0)

    def write(self, data):
        self._pointer = data[0]
        if len(data) == 3:
            high, low = (data[1], data[2]) if self.big_endian else (data[2], data[1])
            self.wrote(data[0], high << 8 | low)

    def read(self, size):
        word = self.fresh(self._pointer) & 0xFFFF
        pair = (word >> 8, word & 0xFF) if self.big_endian else (word & 0xFF, word >> 8)
        return bytes(pair)[:size]


class BytePart(I2cPart):
    """Registers of one byte; the pointer runs on while `auto` is set in it, or always if 0."""

    auto = 0

    def __init__(self, surroundings, config):
        I2cPart.__init__(self, surroundings, config)
        self.registers = bytearray(256)
        self._pointer = 0
        self.power_on()

    def power_on(self):
        """Reset values."""

    def wrote(self, register, value):
        self.registers[register] = value

    def about_to_read(self, register, size):
        """Bring `registers` up to date."""

    def write(self, data):
        self._pointer = data[0]
        for at in range(1, len(data)):
            self.wrote((data[0] & ~self.auto) + at - 1, data[at])

    def read(self, size):
        start = self._pointer & ~self.auto & 0xFF
        self.about_to_read(start, size)
        if self.auto and not self._pointer & self.auto:
            return bytes([self.registers[start]]) * size
        return bytes(self.registers[start : start + size])
