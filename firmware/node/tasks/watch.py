"""Watches, and calls for help when it is needed: the radio's link, the clock.

Each is given (open, close): open(...) loads what can help for the occasion, close(...) forgets it.
"""

import asyncio

_POLL_MS = 1000
_RETRY_S = 30


class RadioWatch:
    """Has the radio joined (`tasks.network.NetworkTask`), and again when the link is lost."""

    beat_ms = 30000

    def __init__(self, station, uptime_ms, joining) -> None:
        self.joins = self.losses = 0
        self._uptime_ms = uptime_ms
        self._station = station
        self._open, self._close, self._log = joining
        self._joining = None
        self._memory = None  # the policy's, between two joins, and how long the link lasted

    def online(self) -> bool:
        return self._station.joined() if self._joining is None else self._joining.up

    async def run(self, beat) -> None:
        while True:
            joining = self._joining = self._open(self._memory)
            try:
                await joining.run(beat)
                memory = joining.policy.memory()
            finally:
                joining = self._joining = None
                self._close()
            self.joins += 1
            joined_ms = self._uptime_ms()
            while self._station.joined():
                beat()
                await asyncio.sleep_ms(_POLL_MS)
            self._memory = memory, self._uptime_ms() - joined_ms
            self.losses += 1
            self._log.warning("wifi: link lost")
            await asyncio.sleep_ms(_POLL_MS)  # in which the connection lets go of its memory


class ClockWatch:
    """Has a time server asked (`tasks.network.ClockTask`) while the network is up."""

    beat_ms = 30000

    def __init__(self, radio, uptime_ms, asking) -> None:
        self._radio = radio
        self._uptime_ms = uptime_ms
        self._open, self._close = asking

    async def run(self, beat) -> None:
        turn = next_ms = 0
        while True:
            beat()
            if self._radio.online() and self._uptime_ms() >= next_ms:
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
