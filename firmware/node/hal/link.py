"""Byte streams over TCP, plain or TLS, that never block longer than they must and never leak.

    link = Link(); await link.open(host, port, tls, timeout_ms); link.send(buf, off, n)
    link.recv_into(buf); await link.readable(); link.close()

Owns the socket between open() and close(); every way out of open() but success closes it.
asyncio's own open_connection() does not (a cancelled one leaks its socket), nor does it set
TCP_NODELAY, without which each small write waits 40 ms for the peer's delayed ACK.

Every failure is a LinkError: dns, timeout, refused, unreachable, lost, eof, or one of hal.tls.
"""

import asyncio
import errno
import gc
import select
import socket
import time
from asyncio import core

from micropython import const
from node.core.errors import LinkError

_IPPROTO_TCP = const(6)
_NODELAY = getattr(socket, "TCP_NODELAY", 1)
_IN_PROGRESS = (errno.EINPROGRESS, 115, 119, 36)
_POLL_MS = const(2)
_POLLIN = select.POLLIN


class Link:
    """One connection. `feed` is called before each step that may block for seconds."""

    def __init__(self, feed=None, resolve=None) -> None:
        self._feed = feed
        self._resolve = resolve
        self._tls = None
        self._sock = None
        self._stream = None
        self._fresh = (
            True  # nothing received yet: TLS may still refuse (in 1.3, after its handshake)
        )
        self._poll = None
        self._mask = 0
        self._started_ms = 0
        self._timeout_ms = 0

    async def open(self, host: str, port: int, tls=None, timeout_ms: int = 15000) -> None:
        """Resolve, connect and prepare TLS, all within `timeout_ms`. The TLS handshake itself is
        driven by send(), so that it can carry the first bytes (see start())."""
        self._started_ms = time.ticks_ms()
        self._timeout_ms = timeout_ms
        try:
            address = await self._address(host, port)
            self._before_blocking()
            if tls is not None:
                tls.ready()
            await self._connect(address)
            self._before_blocking()
            self._stream = self._sock if tls is None else tls.wrap(self._sock, host)
            self._tls = tls
        except OSError as error:
            self.close()
            raise LinkError("unreachable", error.errno)
        except BaseException:  # CancelledError too: nobody else knows the socket
            self.close()
            raise

    async def start(self, buf, off: int, size: int) -> int:
        """Send the first bytes, completing the TLS handshake with them, before open()'s deadline.
        Returns how many were taken, at least one."""
        try:
            while True:
                self._before_blocking()
                count = self.send(buf, off, size)
                if count:
                    return count
                self._check_deadline("handshake_timeout")
                await asyncio.sleep_ms(0 if self._ready(_POLLIN) else _POLL_MS)
        except BaseException:  # cancelled too
            self.close()
            raise

    def send(self, buf, off: int = 0, size: int = -1) -> int:
        """Write from buf[off:off+size]; how many bytes the link took, 0 when it is full."""
        try:
            if size < 0:
                size = len(buf) - off
            return self._stream.write(buf, off, size) or 0
        except (OSError, ValueError, AttributeError, MemoryError) as error:
            raise self._failure(error)

    def recv_into(self, buf):
        """Fill `buf` from its start: the number of bytes, 0 at the end, None when none yet."""
        try:
            count = self._stream.readinto(buf)
            if count:
                self._fresh = False
            return count
        except (OSError, ValueError, AttributeError, MemoryError) as error:
            raise self._failure(error)

    async def readable(self) -> None:
        """Wait until the socket has something to read (or has failed). Read until None first:
        bytes that TLS holds decrypted do not count."""
        yield core._io_queue.queue_read(self._sock)

    async def writable(self) -> None:
        yield core._io_queue.queue_write(self._sock)

    def waiting(self, ms: int = 0) -> bool:
        """Whether the socket has something to read, or gets it within `ms`, blocking so long."""
        if self._mask == _POLLIN:  # the hot path
            for _ in self._poll.ipoll(ms):
                return True
            return False
        return self._ready(_POLLIN, ms) != 0

    def close(self) -> None:
        """Safe at any time, and twice."""
        stream, sock = self._stream, self._sock
        self._stream = self._sock = self._poll = None
        for one in (stream, sock):
            if one is not None:
                try:
                    one.close()
                except (OSError, ValueError):
                    pass
        if self._tls is not None:
            self._tls.closed()
            self._tls = None

    def _before_blocking(self) -> None:
        if self._feed is not None:
            self._feed()

    def _check_deadline(self, code: str) -> None:
        if time.ticks_diff(time.ticks_ms(), self._started_ms) > self._timeout_ms:
            raise LinkError(code)

    async def _address(self, host: str, port: int):
        self._before_blocking()
        await asyncio.sleep_ms(0)
        if self._resolve is not None and not host.replace(".", "").isdigit():
            host = await self._resolve(host, self._timeout_ms)
        try:
            found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
        except OSError as error:
            raise LinkError("dns", error.errno)
        if not found:
            raise LinkError("dns", host)
        self._check_deadline("dns_timeout")
        self._family = found[0][0]
        return found[0][-1]

    async def _connect(self, address) -> None:
        self._sock = sock = socket.socket(self._family, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            sock.setsockopt(_IPPROTO_TCP, _NODELAY, 1)
        except OSError:
            pass  # a port without the option still works
        try:
            sock.connect(address)
        except OSError as error:
            if error.errno not in _IN_PROGRESS:
                raise
        while True:
            ready = self._ready(select.POLLOUT)
            if ready & (select.POLLERR | select.POLLHUP):
                raise LinkError("refused")
            if ready:
                return
            self._check_deadline("timeout")
            await asyncio.sleep_ms(_POLL_MS)

    def _ready(self, mask: int, ms: int = 0) -> int:
        """Poll the plain socket, which the kernel or lwIP does exactly, below TLS."""
        poll = self._poll
        if poll is None:
            self._poll = poll = select.poll()
            poll.register(self._sock, mask)
            self._mask = mask
        elif mask != self._mask:
            poll.modify(self._sock, mask)
            self._mask = mask
        for _, events in poll.ipoll(ms):
            return events
        return 0

    def _failure(self, error) -> LinkError:
        if self._stream is None:
            return LinkError("closed")
        detail = error.args[0] if error.args else None
        if self._tls is not None:
            return LinkError(self._tls.code_of(error, self._fresh), detail)
        return LinkError("lost", detail)


class Ports:
    """What a task needs of the machine to keep a connection: `tls` is a hal.tls.Tls or None,
    `feed` feeds the watchdog, `online` tells whether the network is up, `resolve` is
    `async (host, timeout_ms) -> address` instead of the chip's own blocking resolver."""

    def __init__(self, tls=None, feed=None, online=None, resolve=None) -> None:
        self.tls = tls
        self.feed = feed
        self.online = online
        self.resolve = resolve
        self.ticks_ms = time.ticks_ms

    def link(self) -> Link:
        # What lives as long as a link then fills the lowest holes, and a long-running heap
        # does not fragment a little more with each reconnect.
        gc.collect()
        return Link(self.feed, self.resolve)

    def below(self, limit: int) -> int:
        """A random integer in range(limit), limit < 2**30, for jitter."""
        import os

        value = 0
        for byte in os.urandom(4):
            value = (value << 8 | byte) & 0x3FFFFFFF
        return value % limit
