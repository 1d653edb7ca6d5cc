"""Carries out what `core.update` wants: HTTP over hal's link, waits, and the order of both.

Owns the connection to the update server. One 1 KiB buffer serves everything that is received.
Loaded for a check and forgotten after it (see tasks.update): code that runs once an hour must not
sit on the heap in between.
"""

import asyncio
import gc

from micropython import const
from node.core.check import FORGET
from node.core.errors import LinkError
from node.core.fetch import Exchange, Fetch
from node.core.http import Http
from node.core.url import split_url

_BUFFER = const(1024)
_OPEN_MS = const(20000)
_POLL_MS = const(10)
_STEP_MS = const(200)
# Collect this often during a check. A parsed release is hundreds of small objects; with garbage
# left
# between them they end up all over the heap, and no 4 KiB in a row are left for the inflater.
_COLLECT_BYTES = const(2048)


class Carrier:
    """Carries out Fetches, on one connection for as long as the server and the errand keep it."""

    def __init__(self, ports) -> None:
        self._ports = ports
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._link = None
        self._http = None
        self._peer = None
        self._fresh = False

    async def fetch(self, fetch: Fetch, beat) -> None:
        """The results are in `fetch`, also when there was no link ("link")."""
        fresh = not self._kept(split_url(fetch.url)[:3])
        try:
            await self._attempt(fetch, beat)
            if not fresh and fetch.code in ("link", "http-short") and not fetch.status:
                fetch.reset()  # the server had closed a connection that was kept: not a failure
                await self._attempt(fetch, beat)
        finally:
            if fetch.code:
                self.close()

    def _kept(self, peer) -> bool:
        return self._link is not None and self._http.reusable and self._peer == peer

    async def _attempt(self, fetch: Fetch, beat) -> None:
        try:
            await self._open(split_url(fetch.url)[:3])
            exchange = Exchange(self._http, fetch)
            await self._send(self._http.output())
            await self._receive(exchange, beat)
        except LinkError:
            self.close()
            fetch.code = "link"

    async def _open(self, peer) -> None:
        if self._kept(peer):
            return
        self.close()
        tls, host, port = peer
        if tls and self._ports.tls is None:
            raise LinkError("no-tls")
        link = self._ports.link()
        await link.open(host, port, self._ports.tls if tls else None, _OPEN_MS)
        self._link, self._http, self._peer = link, Http(), peer
        self._fresh = True

    async def _send(self, data: bytes) -> None:
        off = 0
        if self._fresh:  # completes the TLS handshake
            off = await self._link.start(data, 0, len(data))
            self._fresh = False
        while off < len(data):
            count = self._link.send(data, off, len(data) - off)
            off += count
            if not count:
                await asyncio.sleep_ms(_POLL_MS)

    async def _receive(self, exchange: Exchange, beat) -> None:
        while not exchange.done:
            count = self._link.recv_into(self._buffer)
            if count is None:
                exchange.tick(self._ports.uptime_ms())
                beat()
                await asyncio.sleep_ms(_POLL_MS)
            elif count == 0:
                exchange.eof()
            else:
                exchange.feed(self._view[:count])
                await asyncio.sleep_ms(0)

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
        self._link = self._http = self._peer = None


class Download:
    """One check and what follows from it. `updater` is a core.update.Update."""

    def __init__(self, updater, ports) -> None:
        self.updater = updater
        self._ports = ports
        self._carrier = Carrier(ports)

    async def run(self, beat) -> None:
        threshold = gc.threshold()
        gc.threshold(_COLLECT_BYTES)
        try:
            for action in self.updater.run(self._ports.unix_s()):
                beat()
                if isinstance(action, Fetch):
                    await self._carrier.fetch(action, beat)
                elif action == FORGET:
                    self._ports.forget()
                else:
                    await self._pause(action, beat)
        finally:
            gc.threshold(threshold)
            self._carrier.close()

    async def _pause(self, wait_ms: int, beat) -> None:
        """Wait, longer by up to a quarter: many devices lose the same server at once."""
        if wait_ms:
            wait_ms += self._ports.below(wait_ms // 4 + 1)
        while wait_ms > _STEP_MS:
            await asyncio.sleep_ms(_STEP_MS)
            wait_ms -= _STEP_MS
            beat()
        await asyncio.sleep_ms(wait_ms)
