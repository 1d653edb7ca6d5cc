"""Rows of a schema on their way to a packed batch, in RAM.

A row gets the next sequence number of this boot when it is added. Rows carry uptime; the whole
batch is dated when it is closed and the clock is known by then (`offset_ms` = Unix time -
uptime).
"""

from micropython import const
from node.core import pack

_BYTES_MAX = const(1000)  # a payload: what a connection's window and an outbox's buffer hold


class Batcher:
    """`limits` = (most rows, ms after which a batch is closed however full it is)."""

    def __init__(
        self, schema_id: bytes, boot: int, columns: int, limits: "tuple[int, int]"
    ) -> None:
        most, self.age_ms = limits
        # 7 bytes hold any value with its quality, 6 a step of time, 40 the head: a batch that is
        # closed in time always fits its buffer, an outbox's and a connection's.
        row_bytes = 6 + 7 * columns
        self._most = max(1, min(most, (_BYTES_MAX - 40) // row_bytes))
        self._columns = columns
        self._batch = pack.Batch(schema_id, boot, 0)
        self._writer = pack.Writer(40 + (self._most + 1) * row_bytes)
        self.next_seq = 0
        self._clear()

    def _clear(self) -> None:
        old = self._batch
        self._batch = pack.Batch(old.schema_id, old.boot, self.next_seq)
        self._batch.columns = [[] for _ in range(self._columns)]
        self._batch.quality = [[] for _ in range(self._columns)]

    def resume(self, next_seq: int) -> None:
        """Go on behind the rows of an earlier wake, with an empty batch."""
        self.next_seq = next_seq
        self._clear()

    @property
    def room(self) -> int:
        """Rows that still fit."""
        return self._most - len(self._batch.times)

    @property
    def rows(self) -> int:
        return len(self._batch.times)

    def add(self, values: "list[int | None]", codes: "list[int]", up_ms: int) -> None:
        """Take a row; the lists are copied."""
        batch = self._batch
        batch.times.append(up_ms)
        for index in range(self._columns):
            batch.columns[index].append(values[index])
            batch.quality[index].append(codes[index])
        self.next_seq += 1

    def due(self, now_ms: int) -> bool:
        """Whether the batch is full or old enough to be closed."""
        times = self._batch.times
        return bool(times) and (len(times) >= self._most or now_ms - times[0] >= self.age_ms)

    def due_ms(self) -> int:
        """When the batch gets old (uptime), -1 when it is empty."""
        return self._batch.times[0] + self.age_ms if self._batch.times else -1

    def close(self, offset_ms: "int | None") -> "tuple[memoryview, int] | None":
        """The packed batch and its samples, or None; the view holds until the next call."""
        batch = self._batch
        if not batch.times:
            return None
        if offset_ms is not None:
            batch.dated = True
            for index in range(len(batch.times)):
                batch.times[index] += offset_ms
        size = pack.encode_into(batch, self._writer)
        self._clear()
        return memoryview(self._writer.buffer)[:size], batch.samples

    def keep(self) -> bytes:
        """The open batch as bytes, to be kept over a sleep; empty when there is none."""
        if not self._batch.times:
            return b""
        size = pack.encode_into(self._batch, self._writer)
        return bytes(memoryview(self._writer.buffer)[:size])

    def restore(self, kept: bytes) -> bool:
        """Go on with what `keep` gave; False when it is not of this schema, boot and shape."""
        from node.core import record

        try:
            batch = record.decode(kept)
        except pack.RecordError:
            return False
        mine = self._batch
        if batch.boot != mine.boot or batch.schema_id != mine.schema_id or batch.dated:
            return False
        if len(batch.columns) != self._columns or batch.stride != 1:
            return False
        self._batch = batch
        self.next_seq = batch.seq + batch.samples
        return True
