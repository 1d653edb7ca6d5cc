"""A ring of log lines in RAM, pulled on demand.

Owns the last `capacity` bytes of the device's own words. A fixed bytearray, so that a chatty
task cannot fragment the heap; a line that does not fit pushes the oldest whole lines out.
Each line is `<uptime s> <level> <text>\\n`. Text is made printable: it travels to terminals.
"""

from micropython import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEBUG = const(0)
INFO = const(1)
WARNING = const(2)
ERROR = const(3)
_LETTERS = "DIWE"
_MAX_LINE = const(200)


class Log:
    """`sink(line)` also gets each line at or above `level`, e.g. the console; may be None."""

    def __init__(
        self, uptime_ms: "Any", capacity: int = 2048, sink: "Any" = None, level: int = INFO
    ) -> None:
        self._uptime_ms = uptime_ms
        self._ring = bytearray(capacity)
        self._used = 0
        self.sink = sink
        self.level = level
        self.dropped = 0

    def debug(self, text: str) -> None:
        self.add(DEBUG, text)

    def info(self, text: str) -> None:
        self.add(INFO, text)

    def warning(self, text: str) -> None:
        self.add(WARNING, text)

    def error(self, text: str) -> None:
        self.add(ERROR, text)

    def add(self, level: int, text: str) -> None:
        if level < self.level:
            return
        text = "%d %s %s\n" % (self._uptime_ms() // 1000, _LETTERS[level], text[:_MAX_LINE])
        line = bytearray(text.encode())
        for i in range(len(line) - 1):
            if line[i] < 32:
                line[i] = 32
        self._store(line)
        if self.sink is not None:
            self.sink(line[:-1].decode())

    def tail(self, limit: int) -> bytes:
        """The newest whole lines, at most `limit` bytes."""
        data = bytes(memoryview(self._ring)[: self._used])
        if len(data) <= limit:
            return data
        cut = data.find(b"\n", len(data) - limit - 1)
        return data[cut + 1 :]

    def clear(self) -> None:
        for i in range(len(self._ring)):
            self._ring[i] = 0
        self._used = 0

    def _store(self, line: bytearray) -> None:
        ring, size = self._ring, len(line)
        if size > len(ring):
            return
        excess = self._used + size - len(ring)
        if excess > 0:
            self._forget(excess)
        ring[self._used : self._used + size] = line
        self._used += size

    def _forget(self, at_least: int) -> None:
        """Drop whole lines from the front, at least this many bytes of them."""
        ring = self._ring
        end = at_least
        while end < self._used and ring[end - 1] != 10:
            end += 1
        view = memoryview(ring)
        view[: self._used - end] = view[end : self._used]
        self._used -= end
        self.dropped += 1
