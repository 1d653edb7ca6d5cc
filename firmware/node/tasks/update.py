"""Asks for updates now and then, and carries out what `core.update` wants: HTTP over hal's link,
waits, the reset.

Owns the connection to the update server and the clock of the checks. One 1 KiB buffer serves
everything that is received. A server over TLS gets the memory of the MQTT session, which steps
aside for it and comes back afterwards.
"""

import asyncio

from micropython import const
from node.core.errors import LinkError
from node.core.fetch import Exchange, Fetch
from node.core.http import Http
from node.core.update import CURRENT, FAILED, REBOOT
from node.core.url import split_url

_BUFFER = const(1024)
_OPEN_MS = const(20000)
_POLL_MS = const(10)
_STEP_MS = const(200)
_GOODBYE_MS = const(6000)  # for the broker to take the last report before the reset
_RETRY_S = const(300)


class Ports:
    """What the task needs of the machine.

    `link()` makes a hal Link; `tls` is a hal Tls for https URLs, or None; `online()` tells whether
    the network is up; `below(n)` is a random integer; `unix_s()` the time or None; `uptime_ms()`;
    `reboot()` resets, planned already. `connection` is the MQTT Connection or None, `idle()`
    whether all reports have been taken by the broker.
    """

    def __init__(self, link, uptime_ms, below, reboot) -> None:
        self.link = link
        self.uptime_ms = uptime_ms
        self.below = below
        self.reboot = reboot
        self.tls = None
        self.connection = None
        self.online = _yes
        self.idle = _yes
        self.unix_s = _none


def _yes() -> bool:
    return True


def _none() -> None:
    return None


class Carrier:
    """Carries out Fetches, on one connection for as long as the server and the errand keep it."""

    def __init__(self, ports: Ports) -> None:
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


class UpdateTask:
    """`updater` is a core.update.Update; `interval_s` the time between checks, jittered by a
    quarter of itself.
    """

    beat_ms = 60000

    def __init__(self, updater, ports: Ports, interval_s: int, log=None) -> None:
        self.updater = updater
        self._ports = ports
        self._interval_s = interval_s
        self._log = log
        self._carrier = Carrier(ports)
        self._asked = False
        self._due_ms = 0
        self.checks = 0

    def check_now(self) -> None:
        """The `check-update` command, or a user who stopped deferring."""
        self._asked = True

    async def run(self, beat) -> None:
        # spread a street of devices that power up together; the first check is still soon
        self._due_ms = self._ports.uptime_ms() + self._ports.below(
            1 + min(self._interval_s, 60) * 250
        )
        while True:
            beat()
            due = self._asked or self._ports.uptime_ms() >= self._due_ms
            if due and self._ports.online():
                self._asked = False
                await self.check(beat)
                self._due_ms = self._ports.uptime_ms() + self._next_s() * 1000
            await asyncio.sleep_ms(_STEP_MS)

    def _next_s(self) -> int:
        base = self._interval_s
        if self.updater.outcome == FAILED:
            base = min(base, _RETRY_S)
        return base - base // 4 + self._ports.below(base // 2 + 1)

    async def check(self, beat) -> str:
        """One check and what follows from it; the outcome. Does not return when the device
        resets.
        """
        apart = self._ports.connection is not None and self.updater.base_url.startswith("https:")
        self.checks += 1
        if apart:
            await self._ports.connection.pause()
        try:
            await self._carry_out(beat)
        finally:
            self._carrier.close()
            if apart:
                self._ports.connection.resume()
        outcome = self.updater.outcome
        if self._log is not None and outcome != CURRENT:
            self._log.info("update: %s %s" % (outcome, self.updater.code))
        if outcome == REBOOT:
            await self._goodbye(beat)
            self._ports.reboot()
        return outcome

    async def _carry_out(self, beat) -> None:
        for action in self.updater.run(self._ports.unix_s()):
            beat()
            if isinstance(action, Fetch):
                await self._carrier.fetch(action, beat)
            else:
                await self._pause(action, beat)

    async def _pause(self, wait_ms: int, beat) -> None:
        """Wait, longer by up to a quarter: many devices lose the same server at once."""
        if wait_ms:
            wait_ms += self._ports.below(wait_ms // 4 + 1)
        while wait_ms > _STEP_MS:
            await asyncio.sleep_ms(_STEP_MS)
            wait_ms -= _STEP_MS
            beat()
        await asyncio.sleep_ms(wait_ms)

    async def _goodbye(self, beat) -> None:
        waited_ms = 0
        while not self._ports.idle() and waited_ms < _GOODBYE_MS:
            beat()
            await asyncio.sleep_ms(_STEP_MS)
            waited_ms += _STEP_MS
