"""One SNTP exchange over UDP, without blocking the loop."""

import asyncio
import os
import socket
import time

from node.core import sntp
from node.core.errors import LinkError

_TIMEOUT_MS = 3000
_POLL_MS = 20


async def query(host: str, port: int = 123, resolve=None) -> int:
    """Ask `host` for the time. Returns Unix ms at the moment of return.

    Raises OSError (no route, no answer) or `core.sntp.SntpError` (an answer that is refused).
    Half the round trip is added: on a symmetric path that is the server's present. `resolve` as
    for hal.link: the chip's own resolver blocks.
    """
    if resolve is not None and not host.replace(".", "").isdigit():
        try:
            host = await resolve(host, 2 * _TIMEOUT_MS)
        except LinkError:
            raise OSError(-2)
    address = socket.getaddrinfo(host, port, 0, socket.SOCK_DGRAM)[0][-1]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        nonce = os.urandom(8)
        sent_ms = time.ticks_ms()
        sock.sendto(sntp.request(nonce), address)
        packet = await _receive(sock, sent_ms)
        round_trip_ms = time.ticks_diff(time.ticks_ms(), sent_ms)
        return sntp.reply_ms(packet, nonce) + round_trip_ms // 2
    finally:
        sock.close()


async def _receive(sock, sent_ms: int) -> bytes:
    while time.ticks_diff(time.ticks_ms(), sent_ms) < _TIMEOUT_MS:
        try:
            packet = sock.recv(sntp.PACKET_BYTES)
        except OSError as error:
            if error.errno != 11:  # EAGAIN
                raise
            packet = None
        if packet:
            return packet
        await asyncio.sleep_ms(_POLL_MS)
    raise OSError(110)  # ETIMEDOUT
