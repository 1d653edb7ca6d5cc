"""Watches, and calls for help when it is needed: the radio's link, the clock, the inbox.

Each is given (open, close): open(...) loads what can help for the occasion, close(...) forgets it.
"""

import asyncio

_POLL_MS = 1000
_RETRY_S = 30
_QUEUE = 6  # messages
_LOOK_MS = 50
_MEMORY_MS = 5000
_TRIES = 5


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


class Inbox:
    """Takes in what arrives on `down/`, and has it done by what is loaded for its kind."""

    beat_ms = 60000

    def __init__(self, link, hands, log) -> None:
        self._open, self._close = hands
        self._log = log
        self._waiting: list = []
        self._busy = False
        self._tries = 0  # of what waits first, in vain for want of memory
        for kind in ("command", "desired", "certificate"):
            link.subscribe(kind, self._door(kind))

    def _door(self, kind: str):
        return lambda payload: self.put(kind, bytes(payload))

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is being carried out: a device may go back to sleep."""
        return not self._waiting and not self._busy

    def put(self, kind: str, payload: bytes) -> None:
        """Have this looked at; an empty payload: see what is to be done of that kind."""
        if len(self._waiting) >= _QUEUE:
            self._log.warning("%s: queue full, one dropped" % kind)
            return
        self._waiting.append((kind, payload))

    async def run(self, beat) -> None:
        self._busy = False
        while True:
            beat()
            if self._waiting:
                await self._empty(beat)
            await asyncio.sleep_ms(_LOOK_MS)

    async def _empty(self, beat) -> None:
        kind = self._waiting[0][0]
        try:
            hands = self._open(kind)
        except MemoryError:
            self._log.warning("%s: no memory" % kind)
            await asyncio.sleep_ms(_MEMORY_MS)
            return
        self._busy = True
        payload = b""
        try:
            while self._waiting and self._waiting[0][0] == kind:
                payload = self._waiting.pop(0)[1]
                await hands.handle(payload, beat)
                self._tries = 0
        except MemoryError:
            self._again(kind, payload)
        finally:
            self._busy = False
            self._close(hands)
            hands = None
        if self._tries:
            beat()
            await asyncio.sleep_ms(_MEMORY_MS)

    def _again(self, kind: str, payload: bytes) -> None:
        """Somebody else has the memory, and gives it back soon. A command runs at most once."""
        self._tries += 1
        if kind == "command" or self._tries > _TRIES:
            self._tries = 0
            self._log.error("%s: no memory, given up" % kind)
        else:
            self._log.warning("%s: no memory" % kind)
            self._waiting.insert(0, (kind, payload))
