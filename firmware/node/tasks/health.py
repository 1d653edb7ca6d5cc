"""Watches a trial: confirms the release when its health contract is met, gives up when not."""

import asyncio
import gc

from micropython import const
from node.core import health

_POLL_MS = const(500)


class HealthTask:
    """`confirmed()` and `gave_up(why)` are called once; `acked()` counts publishes with PUBACK."""

    beat_ms = 30000

    def __init__(self, contract, link, ports) -> None:
        self._contract = contract
        self._link = link
        self._uptime_ms, self._acked, self._confirmed, self._gave_up = ports

    async def run(self, beat) -> None:
        verdict = health.WAITING
        while verdict == health.WAITING:
            beat()
            await asyncio.sleep_ms(_POLL_MS)
            if self._link.connected:
                gc.collect()
            verdict = self._contract.judge(
                self._link.connected, self._acked(), gc.mem_free(), self._uptime_ms()
            )
        if verdict == health.HEALTHY:
            self._confirmed()
        else:
            self._gave_up(self._contract.why)
        while True:  # a task that returns counts as failed: the rest of this one is idle
            beat()
            await asyncio.sleep_ms(10000)
