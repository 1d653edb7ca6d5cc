"""What Sensirion's parts share on the wire: words with their CRC, NAK of a read while busy."""

from ..bus import FAULT_CRC, FAULT_STUCK, I2cPart, Nak


def crc(high, low):
    """The remainder of the division by x^8 + x^5 + x^4 + 1, not the driver's shifting."""
    return _divide(high << 8 | low, 16)


def _divide(message, bits):
    """Remainder of message * x^8 with the first 8 bits inverted (start value 0xFF)."""
    rest = (message << 8) ^ (0xFF << bits)
    for at in range(bits + 7, 7, -1):
        if rest >> at & 1:
            rest ^= 0x131 << (at - 8)
    return rest & 0xFF


class SensirionPart(I2cPart):
    """Answers with `self._answer` from `self._ready_at` on."""

    def __init__(self, surroundings, config):
        I2cPart.__init__(self, surroundings, config)
        self._answer = None
        self._ready_at = 0

    def _later(self, words, wait_ms):
        """`words`: a tuple, or a function that makes it when it is read."""
        self._answer = words
        self._ready_at = self.now_ms() + wait_ms

    def read(self, size):
        if self._answer is None or self.now_ms() < self._ready_at:
            raise Nak(self.address)
        if self.fault == FAULT_STUCK:
            raise Nak(self.address)
        words = self._answer if isinstance(self._answer, tuple) else self._answer()
        self._answer = None
        out = bytearray()
        spoil = 1 if self.fault == FAULT_CRC else 0
        for word in words:
            high, low = word >> 8, word & 0xFF
            out.extend(bytes((high, low, crc(high, low) ^ spoil)))
        return bytes(out[:size])


def ticks(value, low, span):
    """`value` = low + span * S / 65535, all in milli-units, solved for S."""
    return max(0, min(65535, round((value - low) * 65535 / span)))
