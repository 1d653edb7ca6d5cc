"""Asks for updates now and then, and resets into the updating boot when there is one.

Owns the clock of the checks. The code that checks is twenty kilobytes of heap that nobody needs in
between, so it is loaded for the check (`open_check`) and forgotten after it. A server over TLS
gets the memory of the MQTT session, which steps aside for it and comes back. What is found is
installed in a boot of its own (`node.updating`); where there is no room even for a check, that
boot does the check as well, more rarely, for each costs a reset.
"""

import asyncio

from micropython import const

_STEP_MS = const(200)
_GOODBYE_MS = const(6000)  # for the broker to take the last report before the reset
_RETRY_S = const(300)
_BLIND_S = const(21600)  # between two resets that only look
# core.check's outcomes: not imported, that is the point
_CURRENT = "current"
_NEW = "new"
_FAILED = "failed"
_MEMORY = "memory"  # a code of it
_BLIND = "blind"


class Ports:
    """What the task needs of the machine.

    `link()` makes a hal Link; `tls` is a hal Tls for https URLs, or None; `online()` tells whether
    the network is up; `below(n)` is a random integer; `unix_s()` the time or None; `uptime_ms()`;
    `depart()` resets into the updating boot. `connection` is the MQTT Connection or None, `idle()`
    whether all reports have been taken by the broker; `forget()` drops the loader's modules that
    verify, which are loaded again when they are needed. `room()` is whether a check fits into the
    heap, `allowed()` "" or the condition of an update that is not met. `unfinished`: the last
    update did not come to its end.
    """

    def __init__(self, link, uptime_ms, below, depart) -> None:
        self.link = link
        self.uptime_ms = uptime_ms
        self.below = below
        self.depart = depart
        self.tls = None
        self.connection = None
        self.online = _yes
        self.idle = self.room = _yes
        self.allowed = _nothing
        self.unfinished = False
        self.unix_s = _none
        self.forget = _none


def _yes() -> bool:
    return True


def _none() -> None:
    return None


def _nothing() -> str:
    return ""


class UpdateTask:
    """`open_check()` loads the updater: a `tasks.download.Download`; `close_check(it)` forgets it.

    `interval_s` is the time between checks, jittered by a quarter of itself; `secure` tells that
    the server is over TLS; `wait_s` keeps the first check away, after updates that came to
    nothing.
    """

    beat_ms = 60000

    def __init__(self, check_ports, ports: Ports, interval_s: int, log=None, wait_s=0) -> None:
        self._open_check, self._close_check, self._secure = check_ports
        self._ports = ports
        self.interval_s = interval_s
        self._log = log
        self._asked = False
        self._due_ms = wait_s * 1000
        self.outcome = ""
        self.checks = 0

    def check_now(self) -> None:
        """The `check-update` command, or a user who stopped deferring."""
        self._asked = True

    async def run(self, beat) -> None:
        # spread a street of devices that power up together; the first check is still soon
        self._due_ms += self._ports.uptime_ms() + self._ports.below(
            1 + min(self.interval_s, 60) * 250
        )
        while True:
            beat()
            due = self._asked or self._ports.uptime_ms() >= self._due_ms
            if due and self._ports.online():
                await self.check(beat)
                self._due_ms = self._ports.uptime_ms() + self._next_s() * 1000
            await asyncio.sleep_ms(_STEP_MS)

    def _next_s(self) -> int:
        base = self.interval_s
        if self.outcome == _FAILED:
            base = min(base, _RETRY_S)
        elif self.outcome == _BLIND:
            base = max(base, _BLIND_S)
        return base - base // 4 + self._ports.below(base // 2 + 1)

    async def check(self, beat) -> str:
        """One check and what follows from it; the outcome. The device resets after it when there
        is something to install.
        """
        self.checks += 1
        asked, self._asked = self._asked, False
        self.outcome = _BLIND
        if self._ports.room():
            await self._beside(beat)
        if self.outcome == _BLIND:
            worth = asked or self.checks > 1 or self._ports.unfinished
            if not worth or self._ports.allowed():
                return self.outcome
        if self.outcome in (_NEW, _BLIND):
            await self._goodbye(beat)
            self._ports.depart()
        return self.outcome

    async def _beside(self, beat) -> None:
        """Check beside everything else; a server over TLS gets the broker's memory for it."""
        connection = self._ports.connection if self._secure else None
        if connection is not None:
            await connection.pause()
        try:
            await self._carry_out(beat)
        finally:
            if connection is not None:
                connection.resume()

    async def _carry_out(self, beat) -> None:
        download = self._open_check()
        try:
            await download.run(beat)
            self.outcome = download.updater.outcome
            if self.outcome == _FAILED and download.updater.code == _MEMORY:
                self.outcome = _BLIND  # there was less room than it seemed
            if self._log is not None and self.outcome != _CURRENT:
                self._log.info("update: %s %s" % (self.outcome, download.updater.code))
        finally:
            self._close_check(download)

    async def _goodbye(self, beat) -> None:
        waited_ms = 0
        while not self._ports.idle() and waited_ms < _GOODBYE_MS:
            beat()
            await asyncio.sleep_ms(_STEP_MS)
            waited_ms += _STEP_MS
