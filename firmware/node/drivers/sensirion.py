"""What Sensirion's sensors share: words of 16 bits, most significant byte first, each with a CRC.

CRC-8, polynomial 0x31, start 0xFF, no reflection, no final XOR; CRC(0xBEEF) = 0x92 (data sheets
SHT3x-DIS section 4.12, SHT4x section 4.4, SCD4x section 3.11). A part that is still busy does not
acknowledge its address for a read, which is how it says "not ready".
"""

from micropython import const

from node.core import quality
from node.drivers.sensor import NotReady, Sensor, SensorError, crc8

_NAK = (19, 5)  # ENODEV on esp32, EIO on rp2
_POLYNOMIAL = const(0x31)
_START = const(0xFF)


class Sensirion(Sensor):
    def _command(self, code: int) -> None:
        """Send a 16-bit command."""
        self._buffer[0] = code >> 8
        self._buffer[1] = code & 0xFF
        self.bus.writeto(self.address, self._first(2))

    def _words(self, count: int) -> memoryview:
        """Read `count` words, checked; the bytes still have the CRCs between them (`word`)."""
        try:
            data = self._read(3 * count)
        except OSError as error:
            if error.errno in _NAK:
                raise NotReady
            raise
        for at in range(0, 3 * count, 3):
            if crc8(data, _POLYNOMIAL, _START, at, at + 2) != data[at + 2]:
                raise SensorError(quality.CRC)
        return data


def word(data: "memoryview | bytes", index: int) -> int:
    return data[3 * index] << 8 | data[3 * index + 1]


def scaled(raw: int, hundredths: int) -> int:
    """`hundredths` * raw / 65535, rounded; 65535 = 5 * 13107 keeps it within 30 bits."""
    return (hundredths // 5 * raw + 6553) // 13107
