"""Takes in what arrives on `down/command`, until somebody is loaded who carries it out."""

import asyncio

_QUEUE = 4
_POLL_MS = 50
_RETRY_MS = 5000


class Inbox:
    """`hands` is (open, close): open() gives a `tasks.command.Commands`, close(it) forgets it."""

    beat_ms = 60000

    def __init__(self, link, hands, log) -> None:
        self._open, self._close = hands
        self._log = log
        self._waiting: list = []
        self._busy = False
        link.subscribe("command", self._arrived)

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is being carried out: a device may go back to sleep."""
        return not self._waiting and not self._busy

    def _arrived(self, payload) -> None:
        if len(self._waiting) >= _QUEUE:
            self._log.warning("command: queue full, one dropped")
            return
        self._waiting.append(bytes(payload))

    async def run(self, beat) -> None:
        self._busy = False
        while True:
            beat()
            if self._waiting:
                await self._empty(beat)
            await asyncio.sleep_ms(_POLL_MS)

    async def _empty(self, beat) -> None:
        try:
            hands = self._open()
        except MemoryError:
            self._log.warning("command: no memory")
            await asyncio.sleep_ms(_RETRY_MS)
            return
        self._busy = True
        try:
            while self._waiting:
                await hands.handle(self._waiting.pop(0), beat)
        finally:
            self._busy = False
            self._close(hands)
