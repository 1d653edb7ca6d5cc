"""SNTP (RFC 4330): one request, one checked reply, in integers.

Owns the 48-byte packet. The transmit timestamp of the request is a random nonce, not the time
(a cold clock has none, and RFC 4330 section 5 only asks for a value that comes back): a reply
that does not carry it was not made for us.
"""

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PACKET_BYTES = 48
_UNIX_1900 = 2208988800  # seconds from 1900-01-01 to 1970-01-01
_ERA_S = 1 << 32  # NTP seconds wrap on 2036-02-07 (RFC 4330 section 3)
# A time outside these is a broken server whatever it claims.
EARLIEST_S = 1704067200  # 2024-01-01: older than any release of this firmware
LATEST_S = 4102444800  # 2100-01-01


class SntpError(Exception):
    """A reply that cannot be used; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def request(nonce: bytes) -> bytes:
    """The request: version 4, mode 3 (client), `nonce` (8 bytes) as the transmit timestamp."""
    return b"\x23" + b"\0" * 39 + nonce


def reply_ms(packet: "Any", nonce: bytes) -> int:
    """Unix time in ms at which the server sent `packet`.

    Raises SntpError: `short`, `mode`, `kiss` (the server asks not to be asked again),
    `unsynchronised`, `not_ours`, `bounds`.
    """
    if len(packet) < PACKET_BYTES:
        raise SntpError("short")
    if packet[0] & 7 != 4:
        raise SntpError("mode")
    if packet[1] == 0:
        raise SntpError("kiss")
    if packet[0] >> 6 == 3 or packet[1] > 15:
        raise SntpError("unsynchronised")
    if bytes(packet[24:32]) != nonce:
        raise SntpError("not_ours")
    seconds, fraction = struct.unpack(">II", bytes(packet[40:48]))
    unix_s = seconds - _UNIX_1900
    if unix_s < 0 or seconds < 1 << 31:
        unix_s += _ERA_S
    if not EARLIEST_S <= unix_s < LATEST_S:
        raise SntpError("bounds")
    return int(unix_s) * 1000 + (int(fraction) * 1000 >> 32)
