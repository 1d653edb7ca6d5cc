"""Model of an ASAIR AHT20 (product manual version 1.1).

World: temperature_mc (milli Cel), humidity_milli (milli %RH). `uncalibrated` in the description:
it wants the initialisation first.
"""

from ..bus import FAULT_CRC, FAULT_IMPLAUSIBLE, FAULT_STUCK, I2cPart

_MEASURE_MS = 80
_INITIALISE_MS = 10


def crc(data):
    """The remainder of the division by x^8 + x^5 + x^4 + 1, first byte inverted."""
    rest = 0
    for byte in data:
        rest = rest << 8 | byte
    bits = 8 * len(data)
    rest = (rest << 8) ^ (0xFF << bits)
    for at in range(bits + 7, 7, -1):
        if rest >> at & 1:
            rest ^= 0x131 << (at - 8)
    return rest


class Part(I2cPart):
    address = 0x38

    def __init__(self, surroundings, config):
        I2cPart.__init__(self, surroundings, config)
        self._power_on()

    def _power_on(self):
        self._calibrated_at = None if self.config.get("uncalibrated") else 0
        self._done_at = 0
        self._data = bytes(5)

    def write(self, data):
        if data[0] == 0xBE:
            self._calibrated_at = self.now_ms() + _INITIALISE_MS
        elif bytes(data) == b"\xac\x33\x00":
            self._done_at = self.now_ms() + _MEASURE_MS
            self._data = self._measured()
        elif data[0] == 0xBA:
            self._power_on()

    def read(self, size):
        busy = self.now_ms() < self._done_at or self.fault == FAULT_STUCK
        status = 0x80 if busy else 0
        if self._calibrated_at is not None and self.now_ms() >= self._calibrated_at:
            status |= 0x18
        body = bytes((status,)) + self._data
        return (body + bytes((crc(body) ^ (self.fault == FAULT_CRC),)))[:size]

    def _measured(self):
        celsius = self.world("temperature_mc", 21000)
        t = min(0xFFFFF, round((celsius + 50000) * 1048576 / 200000))
        h = min(0xFFFFF, round(self.world("humidity_milli", 45000) * 1048576 / 100000))
        if self.fault == FAULT_IMPLAUSIBLE:
            t = 0xFFFFF
        both = h << 20 | t
        return bytes(both >> shift & 0xFF for shift in (32, 24, 16, 8, 0))
