"""What arrives on `down/`, and who carries it out: loaded for the occasion, forgotten after it."""

import asyncio

_QUEUE = 6  # messages
_LOOK_MS = 50
_MEMORY_MS = 5000
_TRIES = 5


class Inbox:
    """`hands` are (open, close): `open(kind)` loads what has that kind done, `close(it)` forgets
    it. `may()`, when there is one, tells whether it is time for that."""

    beat_ms = 60000

    def __init__(self, link, hands, log) -> None:
        self._open, self._close = hands
        self._log = log
        self._waiting: list = []
        self._busy = False
        self.may = None
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
            if self.may is not None and not self.may():
                return
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
