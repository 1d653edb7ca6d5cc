"""A `core.mqtt.brief` conversation over a socket: blocks until it is over, with a deadline.

For programs that do nothing else meanwhile; it needs neither asyncio nor `hal.link`. Dial first,
before the messages are read and packed: TLS needs its blocks of memory in one piece.

    call = Call(host, port, context); brief.add(...)...; acked = call.say(brief); call.close()

OSError and ValueError (TLS): there was no conversation; PeerError: it ended badly.
"""

import gc
import socket
import time

from micropython import const

_IPPROTO_TCP = const(6)
_PAUSE_MS = const(2)


class Call:
    """`context` is an SSLContext or None; `feed` feeds the watchdog before what may block. All
    of it is over after `timeout_ms`."""

    def __init__(self, host: str, port: int, context=None, timeout_ms=8000, feed=None) -> None:
        self._feed = feed
        self._timeout_ms = timeout_ms
        self._started_ms = time.ticks_ms()
        self._end = b""
        self._raw = self._stream = raw = socket.socket()
        try:
            self._in_time()
            raw.settimeout(timeout_ms / 1000)
            raw.connect(socket.getaddrinfo(host, port)[0][-1])
            raw.setsockopt(_IPPROTO_TCP, getattr(socket, "TCP_NODELAY", 1), 1)
            raw.setblocking(False)
            if context is not None:
                gc.collect()
                self._stream = context.wrap_socket(
                    raw, server_hostname=host, do_handshake_on_connect=False
                )
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Says goodbye when there was a conversation."""
        try:
            if self._end:
                self._stream.write(self._end)
        except OSError:
            pass  # it was over before
        self._stream.close()
        self._raw.close()

    def _in_time(self) -> bool:
        if self._feed is not None:
            self._feed()
        return time.ticks_diff(time.ticks_ms(), self._started_ms) < self._timeout_ms

    def say(self, brief) -> list:
        """Write what is in `brief`, wait for the answers; again, when more was added. Returns
        the places of the messages that the broker has acknowledged."""
        received = bytearray(64)
        stream = self._stream
        written = 0  # of the first piece of brief.out
        while not brief.done() and self._in_time():
            if brief.out:
                piece = brief.out[0]
                written += stream.write(piece, written, len(piece) - written) or 0
                if written == len(piece):
                    brief.out.pop(0)
                    written = 0
                    continue
            count = stream.readinto(received)
            if count:
                brief.feed(received, count)
            elif count == 0:
                return brief.acked
            else:
                time.sleep_ms(_PAUSE_MS)
        self._end = brief.END if brief.accepted else b""
        return brief.acked
