"""Model of a Maxim DS18B20 (data sheet 19-7487 revision 6), externally powered.

World: temperature_mc (milli Cel). Config: `rom` (16 hex digits; without its CRC 14, which is then
computed; by default made from the name), `bits` 9..12.
"""

from binascii import unhexlify

from ..bus import FAULT_CRC, FAULT_IMPLAUSIBLE, FAULT_STUCK, OneWirePart

_POWER_ON = b"\x50\x05\x4b\x46\x7f\xff\x0c\x10"  # 85 Cel
_BUSY, _SCRATCHPAD, _TAKE = 1, 2, 3
_TABLE = []


def crc(data):
    """By the table of 256 entries (application note 27), unlike the driver."""
    if not _TABLE:
        for index in range(256):
            entry = index
            for _ in range(8):
                entry = entry >> 1 ^ (0x8C if entry & 1 else 0)
            _TABLE.append(entry)
    value = 0
    for byte in data:
        value = _TABLE[value ^ byte]
    return value


class Part(OneWirePart):
    def __init__(self, surroundings, config):
        OneWirePart.__init__(self, surroundings, config)
        rom = config.get("rom")
        body = unhexlify(rom[:14]) if rom else b"\x28" + (self.name + "......").encode()[:6]
        self.rom = body + bytes((crc(body),))
        self.power_on()

    def power_on(self):
        self._scratchpad = bytearray(_POWER_ON)
        self._scratchpad[4] = (self.config.get("bits", 12) - 9) << 5 | 0x1F
        self._done_at = None
        self._state = 0
        self._at = 0

    def reset(self):
        self._state = 0
        self._at = 0

    def command(self, byte):
        if self._state == _TAKE:
            self._scratchpad[2 + self._at] = byte if self._at < 2 else byte & 0x60 | 0x1F
            self._at += 1
            if self._at == 3:
                self._state = 0
        elif byte == 0x44:
            self._done_at = self.now_ms() + (750 >> (3 - self._resolution()))
            self._state = _BUSY
        elif byte == 0xBE:
            self._finish()
            self._state = _SCRATCHPAD
            self._at = 0
        elif byte == 0x4E:
            self._state = _TAKE
            self._at = 0

    def read_bit(self):
        if self._state == _BUSY:
            self._finish()
            return 0 if self._done_at is not None else 1
        if self._state != _SCRATCHPAD:
            return 1
        data = bytes(self._scratchpad)
        data += bytes((crc(data) ^ (self.fault == FAULT_CRC),))
        if self._at >= 8 * len(data):
            return 1
        bit = data[self._at >> 3] >> (self._at & 7) & 1
        self._at += 1
        return bit

    def _resolution(self):
        return self._scratchpad[4] >> 5 & 3

    def _finish(self):
        if self._done_at is None or self.fault == FAULT_STUCK or self.now_ms() < self._done_at:
            return
        self._done_at = None
        raw = round(self.world("temperature_mc", 21000) * 16 / 1000)
        if self.fault == FAULT_IMPLAUSIBLE:
            raw = 0x0FF0
        raw |= (1 << (3 - self._resolution())) - 1  # undefined bits: set, to be noticed
        self._scratchpad[0] = raw & 0xFF
        self._scratchpad[1] = raw >> 8 & 0xFF
