"""Keeps the radio joined and the clock right: watches, and calls for help when it is needed.

Both tasks are given (open, close): open(memory) loads a task of `tasks.network` for the occasion,
close(it) forgets it.
"""

import asyncio

_POLL_MS = 1000
_RETRY_S = 30


class RadioWatch:
    """Has the radio joined, and joined again when the link is lost."""

    beat_ms = 30000

    def __init__(self, station, joining) -> None:
        self.joins = self.losses = 0
        self._station = station
        self._open, self._close = joining
        self._joining = None
        self._memory = None  # the policy's, between two joins

    @property
    def up(self) -> bool:
        return self._station.joined() if self._joining is None else self._joining.up

    async def run(self, beat) -> None:
        while True:
            joining = self._joining = self._open(self._memory)
            try:
                await joining.run(beat)
                self._memory = joining.policy.memory()
            finally:
                self.joins += joining.policy.joins
                self.losses += joining.policy.losses
                joining = self._joining = None
                self._close()
            while self._station.joined():
                beat()
                await asyncio.sleep_ms(_POLL_MS)
            self.losses += 1


class ClockWatch:
    """Has a time server asked now and then, while the network is up."""

    beat_ms = 30000

    def __init__(self, radio, uptime_ms, asking) -> None:
        self._radio = radio
        self._uptime_ms = uptime_ms
        self._open, self._close = asking

    async def run(self, beat) -> None:
        turn = next_ms = 0
        while True:
            beat()
            if self._radio.up and self._uptime_ms() >= next_ms:
                next_ms = await self._ask(turn)
                turn += 1
            await asyncio.sleep_ms(_POLL_MS)

    async def _ask(self, turn: int) -> int:
        """Ask one server; the uptime at which to ask the next."""
        wait_s = _RETRY_S
        try:
            clock_task = self._open()
            try:
                wait_s = await clock_task.step(turn)
            finally:
                clock_task = None
                self._close()
        except MemoryError:
            pass  # the clock can wait
        return self._uptime_ms() + wait_s * 1000
