"""`_onewire` (slots) and `onewire.OneWire` (the ports' frozen driver) over a part's wire."""

from . import clock, pins, wired


class OneWireError(Exception):
    pass


def _bus(pin):
    return wired.onewire.get(pin.id if isinstance(pin, pins.Pin) else pins.number(pin))


def reset(pin):
    lines = _bus(pin)
    clock.skip(1)  # 960 us
    return lines.reset() if lines else False


def readbit(pin):
    lines = _bus(pin)
    return lines.read_bit() if lines else 1


def readbyte(pin):
    value = 0
    for index in range(8):
        value |= readbit(pin) << index
    return value


def writebit(pin, value):
    lines = _bus(pin)
    if lines:
        lines.write_bit(value & 1)


def writebyte(pin, value):
    for index in range(8):
        writebit(pin, value >> index & 1)


def crc8(data):
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc


class OneWire:
    SEARCH_ROM = 0xF0
    MATCH_ROM = 0x55
    SKIP_ROM = 0xCC

    def __init__(self, pin):
        self.pin = pin
        pin.init(pin.OPEN_DRAIN, pin.PULL_UP)

    def reset(self, required=False):
        present = reset(self.pin)
        if required and not present:
            raise OneWireError
        return present

    def readbit(self):
        return readbit(self.pin)

    def readbyte(self):
        return readbyte(self.pin)

    def readinto(self, buf):
        for index in range(len(buf)):
            buf[index] = readbyte(self.pin)

    def writebit(self, value):
        writebit(self.pin, value)

    def writebyte(self, value):
        writebyte(self.pin, value)

    def write(self, buf):
        for byte in buf:
            writebyte(self.pin, byte)

    def select_rom(self, rom):
        self.reset()
        self.writebyte(OneWire.MATCH_ROM)
        self.write(rom)

    def scan(self):
        found = []
        last, rom = 65, None
        for _ in range(0xFF):
            rom, last = self._search(rom, last)
            if rom:
                found.append(rom)
            if not last:
                break
        return found

    def _search(self, known, diff):
        if not self.reset():
            return None, 0
        self.writebyte(OneWire.SEARCH_ROM)
        rom = bytearray(8)
        next_diff = 0
        for index in range(64):
            left = 64 - index
            bit = self.readbit()
            if self.readbit():
                if bit:
                    return None, 0
            elif not bit:  # both kinds of part are there: take the branch not taken last time
                known_bit = known[index >> 3] >> (index & 7) & 1 if known else 0
                if diff > left or (known_bit and diff != left):
                    bit = 1
                    next_diff = left
            self.writebit(bit)
            rom[index >> 3] |= bit << (index & 7)
        return rom, next_diff

    def crc8(self, data):
        return crc8(data)
