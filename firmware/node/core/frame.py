"""The frame around one record in a segment file.

Layout, little endian, 16 bytes before the payload: size u16, samples u8, span u32, position u32,
flags u8, CRC-32 u32 over the twelve bytes before it and the payload.
`position` is the number of samples appended to the lane before this record and `span` how many
samples it stood for before thinning, so that position + span of one frame is the position of the
next, and a damaged stretch tells how many samples it has swallowed.
"""

import binascii
import struct

from micropython import const

HEAD = const(16)
_CRC_AT = const(12)
_FIELDS = "<HBIIB"
TYPE_CHECKING = False
if TYPE_CHECKING:
    Bytes = bytes | bytearray | memoryview


class Frame:
    """A record found in a segment: its payload is at `at`+HEAD, `size` bytes long."""

    def __init__(self, at: int, fields: "tuple[int, int, int, int, int]") -> None:
        self.at = at
        self.size, self.samples, self.span, self.position, self.flags = fields

    @property
    def end(self) -> int:
        return self.at + HEAD + self.size

    @property
    def next_position(self) -> int:
        return self.position + self.span & 0xFFFFFFFF


def write(
    buffer: bytearray, at: int, payload: "Bytes", account: "tuple[int, int, int, int]"
) -> int:
    """Put a frame at `at`; `account` is (samples, span, position, flags). Returns its end."""
    samples, span, position, flags = account
    end = at + HEAD + len(payload)
    struct.pack_into(_FIELDS, buffer, at, len(payload), samples, span, position, flags)
    buffer[at + HEAD : end] = payload
    struct.pack_into("<I", buffer, at + _CRC_AT, _crc(memoryview(buffer), at, end))
    return end


def read(buffer: bytearray, at: int, limit: int) -> "Frame | None":
    """The frame at `at` of the `limit` bytes in `buffer`, or None: cut short or damaged."""
    if at + HEAD > limit:
        return None
    frame = Frame(at, struct.unpack_from(_FIELDS, buffer, at))
    if frame.end > limit:
        return None
    (crc,) = struct.unpack_from("<I", buffer, at + _CRC_AT)
    return frame if crc == _crc(memoryview(buffer), at, frame.end) else None


def _crc(view: memoryview, at: int, end: int) -> int:
    head = binascii.crc32(view[at : at + _CRC_AT])
    return binascii.crc32(view[at + HEAD : end], head) & 0xFFFFFFFF
