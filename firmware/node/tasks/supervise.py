"""The supervisor: owns every task, the watchdog, and the decision to start over.

A task that ends or raises is logged and restarted with a growing pause; one that keeps failing
resets the device, because the rest of a node with a dead part is a node that nobody can reach.
The watchdog is fed only while *every* task has beaten within its own `beat_ms`: a task that
hangs in an await without end starves it, and the chip resets.
"""

import asyncio
import sys

from micropython import const

_PAUSE_BASE_MS = 1000  # not const(): tests shorten them
_PAUSE_CAP_MS = const(60000)
_STABLE_MS = const(300000)
_MAX_RESTARTS = const(8)
_FEED_MS = 1000


class Fatal(Exception):
    """A task failed so often that only a reset is left."""


class _Entry:
    def __init__(self, name: str, task, now_ms: int) -> None:
        self.name = name
        self.task = task
        self.beat_ms = task.beat_ms
        self.last_ms = now_ms
        self.restarts = 0


class Supervisor:
    """`wdt` has feed() or is None (no watchdog on this board); `uptime_ms` is a function."""

    def __init__(self, uptime_ms, log, wdt=None) -> None:
        self._uptime_ms = uptime_ms
        self._log = log
        self._wdt = wdt
        self._entries: list = []
        self._stopping = False
        self._fatal: Exception | None = None
        self.restarts = 0

    def add(self, name: str, task) -> None:
        """Register a task: an object with `async run(beat)` and `beat_ms`."""
        self._entries.append(_Entry(name, task, self._uptime_ms()))

    def stop(self) -> None:
        """Make `run` return: a planned end (reset, sleep)."""
        self._stopping = True

    def late(self) -> str | None:
        """The name of a task whose heartbeat is overdue, or None."""
        now_ms = self._uptime_ms()
        for entry in self._entries:
            if now_ms - entry.last_ms > entry.beat_ms:
                return entry.name
        return None

    async def run(self) -> None:
        """Run all tasks until `stop`, or raise the `Fatal` (or the error) that ended it."""
        running = [asyncio.create_task(self._keep(entry)) for entry in self._entries]
        try:
            await self._watch()
        finally:
            for task in running:
                task.cancel()
            await asyncio.sleep_ms(0)
        if self._fatal is not None:
            raise self._fatal

    async def _watch(self) -> None:
        said = None
        while not self._stopping and self._fatal is None:
            late = self.late()
            if late is None:
                if self._wdt is not None:
                    self._wdt.feed()
            elif late != said:
                self._log.error("supervisor: no heartbeat from %s" % late)
            said = late
            await asyncio.sleep_ms(_FEED_MS)

    async def _keep(self, entry) -> None:
        def beat() -> None:
            entry.last_ms = self._uptime_ms()

        while True:
            beat()
            started_ms = entry.last_ms
            try:
                await entry.task.run(beat)
                self._log.error("task %s: returned" % entry.name)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001  the one place that may: restart or reset
                self._report(entry.name, error)
            if not self._may_restart(entry, started_ms):
                return
            await self._pause(entry, beat)

    def _report(self, name: str, error: Exception) -> None:
        self._log.error("task %s: %r" % (name, error))
        if self._log.sink is not None:
            sys.print_exception(error)

    def _may_restart(self, entry, started_ms: int) -> bool:
        if self._uptime_ms() - started_ms > _STABLE_MS:
            entry.restarts = 0
        entry.restarts += 1
        self.restarts += 1
        if entry.restarts <= _MAX_RESTARTS:
            return True
        self._fatal = Fatal("task %s failed %d times" % (entry.name, entry.restarts))
        return False

    async def _pause(self, entry, beat) -> None:
        left_ms = min(_PAUSE_CAP_MS, _PAUSE_BASE_MS << (entry.restarts - 1))
        while left_ms > 0:
            beat()
            await asyncio.sleep_ms(min(left_ms, _FEED_MS))
            left_ms -= _FEED_MS
