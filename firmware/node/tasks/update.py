"""Asks for updates now and then, and resets when one is ready to be tried.

Owns the clock of the checks. The code that checks and downloads is twenty kilobytes of heap that
nobody needs in between, so it is loaded for the check (`open_check`) and forgotten after it. A
server over TLS gets the memory of the MQTT session, which steps aside for it and comes back.
"""

import asyncio

from micropython import const

_STEP_MS = const(200)
_GOODBYE_MS = const(6000)  # for the broker to take the last report before the reset
_RETRY_S = const(300)
# core.update's outcomes: not imported, that is the point
_CURRENT = "current"
_FAILED = "failed"
_REBOOT = "reboot"


class Ports:
    """What the task needs of the machine.

    `link()` makes a hal Link; `tls` is a hal Tls for https URLs, or None; `online()` tells whether
    the network is up; `below(n)` is a random integer; `unix_s()` the time or None; `uptime_ms()`;
    `reboot()` resets, planned already. `connection` is the MQTT Connection or None, `idle()`
    whether all reports have been taken by the broker; `forget()` drops the loader's modules that
    verify, which are loaded again when they are needed.
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
        self.forget = _none


def _yes() -> bool:
    return True


def _none() -> None:
    return None


class UpdateTask:
    """`open_check()` loads the updater: a `tasks.download.Download`; `close_check(it)` forgets it.

    `interval_s` is the time between checks, jittered by a quarter of itself; `secure` tells that
    the server is over TLS.
    """

    beat_ms = 60000

    def __init__(self, check_ports, ports: Ports, interval_s: int, log=None) -> None:
        self._open_check, self._close_check, self._secure = check_ports
        self._ports = ports
        self._interval_s = interval_s
        self._log = log
        self._asked = False
        self._due_ms = 0
        self.outcome = ""
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
        if self.outcome == _FAILED:
            base = min(base, _RETRY_S)
        return base - base // 4 + self._ports.below(base // 2 + 1)

    async def check(self, beat) -> str:
        """One check and what follows from it; the outcome. Does not return when the device
        resets.
        """
        connection = self._ports.connection if self._secure else None
        self.checks += 1
        if connection is not None:
            await connection.pause()
        try:
            await self._carry_out(beat)
        finally:
            if connection is not None:
                connection.resume()
        if self.outcome == _REBOOT:
            await self._goodbye(beat)
            self._ports.reboot()
        return self.outcome

    async def _carry_out(self, beat) -> None:
        download = self._open_check()
        try:
            await download.run(beat)
            self.outcome = download.updater.outcome
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
