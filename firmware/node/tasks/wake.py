"""One connection of a battery node, from joining to goodbye, inside a budget of time.

Theory. Every peer has the same complaint: no access point, no broker or no answer, and the device
stays awake until the battery is flat. So one deadline covers everything here, and each stage gives
up at the first failure instead of retrying: the next wake is the retry, and the scheduler's
backoff spaces them. A call into the chip that never returns is the watchdog's business; the mark
that `wakestate` keeps makes it count as a failure.
"""

import asyncio

from micropython import const

_STEP_MS = const(20)


class Budget:
    """Time until `until_ms` of the uptime; asking feeds the watchdog."""

    def __init__(self, uptime_ms, until_ms: int, watchdog=None) -> None:
        self.uptime_ms = uptime_ms
        self._until_ms = until_ms
        self._watchdog = watchdog

    def feed(self) -> None:
        if self._watchdog is not None:
            self._watchdog.feed()

    def left_ms(self) -> int:
        return max(0, self._until_ms - self.uptime_ms())

    def late(self) -> bool:
        self.feed()
        return self.uptime_ms() >= self._until_ms


async def join(network, budget: Budget) -> bool:
    """Join by the policy of `network` (a NetworkTask); False when every network has failed."""
    network.policy.start(budget.uptime_ms())
    while not await network.pump(budget.feed):
        if network.policy.waiting or budget.late():
            return False
        await asyncio.sleep_ms(_STEP_MS)
    return True
