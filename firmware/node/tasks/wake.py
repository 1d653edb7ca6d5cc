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
_LINGER_MS = const(150)  # for messages that the broker has kept: they follow CONNACK at once
_GOODBYE_MS = const(500)


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


class Courier:
    """Carries what waits to the broker, and brings back what waits there.

    `connection` is a Connection with its sources, `inbox` a tasks.watch.Inbox, `joined()` tells
    whether the access point is still there.
    """

    def __init__(self, connection, inbox, joined, budget: Budget) -> None:
        self._connection = connection
        self._inbox = inbox
        self._joined = joined
        self._budget = budget

    async def run(self, idle, goodbye) -> bool:
        """Deliver until `idle()`, then call `goodbye()`, a coroutine function; False when it did
        not come to that within the budget."""
        running = [
            asyncio.create_task(self._connection.run(self._budget.feed)),
            asyncio.create_task(self._inbox.run(self._budget.feed)),
        ]
        try:
            done = await self._deliver(idle, _LINGER_MS)
            if done:
                await goodbye()
                # A command that came during the goodbye is carried out, not cut off half-way. One
                # that comes later stays unread, and is the broker's to give again.
                await self._deliver(idle, 0)
            self._connection.hearing = False
            await self._part()
        finally:
            for task in running:
                task.cancel()
            await asyncio.sleep_ms(0)
        return done

    async def _deliver(self, idle, linger_ms: int) -> bool:
        """Until all is acknowledged and the broker has been quiet for `linger_ms`."""
        connection, budget = self._connection, self._budget
        heard = -1 if linger_ms else connection.received
        quiet_ms = budget.uptime_ms()
        while not budget.late():
            if connection.failures or not self._joined():
                return False
            busy = not (connection.idle() and idle() and self._inbox.idle)
            if busy or heard != connection.received:
                heard = connection.received
                quiet_ms = budget.uptime_ms()
            elif budget.uptime_ms() - quiet_ms >= linger_ms:
                return True
            await asyncio.sleep_ms(_STEP_MS)
        return False

    async def _part(self) -> None:
        """DISCONNECT, so that the broker neither waits for us nor sends the will."""
        budget = self._budget
        end_ms = budget.uptime_ms() + _GOODBYE_MS
        stopping = asyncio.create_task(self._connection.stop())
        while not stopping.done() and budget.uptime_ms() < end_ms:
            budget.feed()
            await asyncio.sleep_ms(_STEP_MS)
        stopping.cancel()
