"""A time server that knows the world's virtual time: a real one would tell the host's.

Any datagram to port 123 gets an answer (RFC 4330), unless "ntp.up" is 0.  "ntp.error_ms" makes it
lie.
"""

import struct

from . import clock, world

_PORT = 123
_SECONDS_1900_TO_1970 = 2208988800


def serves(port):
    return port == _PORT and world.get("ntp.up", 1)


def answer(request):
    ms = clock.world_ms() + world.get("ntp.error_ms", 0)
    now = struct.pack(
        ">II", ms // 1000 + _SECONDS_1900_TO_1970 & 0xFFFFFFFF, (ms % 1000 << 32) // 1000
    )
    version = request[0] & 0x38
    head = bytes([version | 4, 1, 0, 0xEC]) + bytes(8) + b"SIM\0"
    return head + now + bytes(request[40:48]) + now + now
