"""The conversation of a battery node with the broker, from connecting to goodbye."""

import asyncio

from micropython import const

_STEP_MS = const(20)
_LINGER_MS = const(150)  # for messages that the broker has kept: they follow CONNACK at once
_GOODBYE_MS = const(500)


class Courier:
    """Carries what waits to the broker, and brings back what waits there.

    `connection` is a Connection with its sources, `inbox` a tasks.inbox.Inbox, `joined()` tells
    whether the access point is still there; `budget` is a tasks.wake.Budget.
    """

    def __init__(self, connection, inbox, joined, budget) -> None:
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
