"""One connection of a battery node, from radio off to radio off, inside a budget of time.

Theory. Every peer has the same complaint: no access point, no broker or no answer, and the device
stays awake until the battery is flat. So one deadline covers everything here, each stage gives up
at the first failure instead of retrying (the next wake is the retry, and the scheduler's backoff
spaces them), and whatever happens `run` ends with the radio off. A call into the chip that never
returns is the watchdog's business; the mark that `wakestate` keeps makes it count as a failure.
"""

import asyncio

from micropython import const

_STEP_MS = const(20)
_LINGER_MS = const(200)  # for messages that the broker has kept: they follow CONNACK at once
_GOODBYE_MS = const(500)


class Courier:
    """Carries what waits to the broker, and brings back what waits there.

    `network` is a NetworkTask, `connection` a Connection with its sources, `commands` an
    Inbox. `ports` = (uptime_ms, feed, radio_off, before, after): `before` and `after` are
    `async` functions called while the network is up, before and after the broker is.
    """

    def __init__(self, network, connection, commands, ports) -> None:
        self._network = network
        self._connection = connection
        self._commands = commands
        self._uptime_ms, self._feed, self._radio_off, self._before, self._after = ports
        self._until_ms = 0
        self.stage = "wifi"  # where it ended, for the log
        self.delivered = False

    async def run(self, budget_ms: int, idle) -> bool:
        """Deliver until `idle()`; True when it came to that within the budget."""
        self._until_ms = self._uptime_ms() + budget_ms
        running: list = []
        try:
            self.delivered = await self._carry(running, idle)
        finally:
            for task in running:
                task.cancel()
            await asyncio.sleep_ms(0)
            self._radio_off()
        return self.delivered

    def _late(self) -> bool:
        self._feed()
        return self._uptime_ms() >= self._until_ms

    async def _carry(self, running: list, idle) -> bool:
        if not await self._join():
            return False
        self.stage = "time"
        await self._before()
        self.stage = "broker"
        connection = self._connection
        running.append(asyncio.create_task(connection.run(self._feed)))
        running.append(asyncio.create_task(self._commands.run(self._feed)))
        done = await self._deliver(idle)
        if done:
            self.stage = "done"
            await self._after()
        await self._part()
        return done

    async def _join(self) -> bool:
        policy = self._network.policy
        policy.start(self._uptime_ms())
        while not await self._network.pump(self._feed):
            if policy.waiting or self._late():
                return False
            await asyncio.sleep_ms(_STEP_MS)
        return True

    async def _deliver(self, idle) -> bool:
        """Until all is acknowledged and the broker has been quiet for a while."""
        connection = self._connection
        heard = -1
        quiet_ms = 0
        while not self._late():
            if connection.failures or not await self._network.pump(self._feed):
                return False
            busy = not (connection.idle() and idle() and self._commands.idle)
            if busy or heard != connection.received:
                heard = connection.received
                quiet_ms = self._uptime_ms()
            elif self._uptime_ms() - quiet_ms >= _LINGER_MS:
                return True
            await asyncio.sleep_ms(_STEP_MS)
        return False

    async def _part(self) -> None:
        """DISCONNECT, so that the broker neither waits for us nor sends the will."""
        end_ms = self._uptime_ms() + _GOODBYE_MS
        stopping = asyncio.create_task(self._connection.stop())
        while not stopping.done() and self._uptime_ms() < end_ms:
            self._feed()
            await asyncio.sleep_ms(_STEP_MS)
        stopping.cancel()
