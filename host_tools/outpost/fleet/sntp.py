"""A small SNTP server (RFC 4330), for sites and simulations without one.

A fleet on a closed network has no public time server; the fleet's host has a clock. Answers
client requests only, one packet for one packet (no amplification), and says stratum 10: any
real server is preferred to it.
"""

import socket
import struct
import threading
import time
from collections.abc import Callable

_UNIX_1900 = 2208988800
_PACKET_BYTES = 48
_STRATUM = 10


def answer(packet: bytes, unix_s: float) -> bytes | None:
    """The reply to a client's request at `unix_s`; None for anything that is not one."""
    if len(packet) < _PACKET_BYTES or packet[0] & 7 != 3:
        return None
    version = packet[0] >> 3 & 7
    stamp = _timestamp(unix_s)
    head = struct.pack(">BBbb", version << 3 | 4, _STRATUM, packet[2] & 0x7F, -10)
    # root delay, root dispersion, reference id, reference time, originate, receive, transmit
    return head + bytes(8) + b"LOCL" + stamp + packet[40:48] + stamp + stamp


def _timestamp(unix_s: float) -> bytes:
    whole = int(unix_s)
    return struct.pack(">II", (whole + _UNIX_1900) & 0xFFFFFFFF, int((unix_s - whole) * (1 << 32)))


class SntpServer:
    """Answers on `host`:`port` (0: a free port, then in `.port`) until closed."""

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, now: Callable[[], float] = time.time
    ) -> None:
        self._now = now
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, port))
        self._socket.settimeout(0.2)
        self.port: int = self._socket.getsockname()[1]
        self.answered = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="sntp", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(2)
        self._socket.close()

    def _serve(self) -> None:
        while not self._closing.is_set():
            try:
                packet, peer = self._socket.recvfrom(512)
            except TimeoutError:
                continue
            except OSError:
                return
            reply = answer(packet, self._now())
            if reply is not None:
                self._socket.sendto(reply, peer)
                self.answered += 1
