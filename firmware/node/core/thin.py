"""Thinning: several old segments become one that keeps every k-th sample.

The whole time stays covered, more coarsely the older it is. Samples are taken out of the packed
batches and packed again, because a batch's head costs as much as many deltas. A record that is no
batch is kept whole or dropped whole. The new segment gets the number of the last one it stands for
and says in its name which ones those are, so recovery finishes what a power cut interrupted.
"""

from node.core import frame as frames
from node.core import lanecare, record
from node.core.segment import Segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from node.core.lane import Lane


def pick(batch: record.Batch, keep: int, first: int = 0) -> None:
    """Leave every `keep`-th sample of `batch`, beginning with number `first`."""
    batch.seq = batch.seq_of(first)
    batch.times = batch.times[first::keep]
    batch.columns = [column[first::keep] for column in batch.columns]
    batch.quality = [codes[first::keep] for codes in batch.quality]
    batch.stride = batch.stride * keep if len(batch.times) > 1 else 1


class _Output:
    """The segment being written: batches that continue each other are joined, as long as no frame
    gets larger than `most`.
    """

    def __init__(self, size: int, keep: int, most: int, seal: "Any") -> None:
        self.buffer = bytearray(size)
        self._most = most
        self._seal = seal
        self._joined = 0  # bytes of the batches in the open one: it is not larger than they were
        self.fill = 0
        self.kept = 0
        self._keep = keep
        self._seen = 0
        self._open: record.Batch | None = None
        self._span = 0
        self._position = -1
        self._last_at = -1

    def take(self, payload: memoryview, frame: "frames.Frame") -> None:
        if self._position < 0:
            self._position = frame.position
        batch = self._decode(payload)
        if batch is None:
            self._span += frame.span
            return
        first = -self._seen % self._keep
        self._seen += batch.samples
        pick(batch, self._keep, first)
        if batch.samples:
            large = self._joined + len(payload) + frames.HEAD > self._most
            if self._open is not None and (large or not _continues(self._open, batch)):
                self.close()
            self._joined += len(payload)
            self._join(batch)
        self._span += frame.span

    def _decode(self, payload: memoryview) -> "record.Batch | None":
        plain = payload if self._seal is None else self._seal.open(payload)
        try:
            return None if plain is None else record.decode(plain)
        except record.RecordError:
            return None

    def _join(self, batch: record.Batch) -> None:
        whole = self._open
        if whole is None:
            self._open = batch
            return
        whole.stride = batch.seq - whole.seq_of(whole.samples - 1)
        whole.times += batch.times
        for index in range(len(whole.columns)):
            whole.columns[index] += batch.columns[index]
            whole.quality[index] += batch.quality[index]

    def close(self) -> None:
        """Write the batch that is open; one that does not fit is dropped."""
        if self._open is None:
            return
        payload = record.encode(self._open)
        if self._seal is not None:
            payload = self._seal.seal(payload)
        need = frames.HEAD + len(payload)
        if need <= self._most and self.fill + need <= len(self.buffer):
            samples = self._open.samples
            account = (samples, self._span, self._position, 0)
            self._last_at = self.fill
            self.fill = frames.write(self.buffer, self.fill, payload, account)
            self.kept += samples
            self._position = self._position + self._span & 0xFFFFFFFF
            self._span = 0
        self._open = None
        self._joined = 0

    def finish(self) -> None:
        """Close, and let the last record stand for what was dropped behind it."""
        self.close()
        last = frames.read(self.buffer, self._last_at, self.fill) if self.kept else None
        if last is not None and self._span:
            payload = bytes(self.buffer[last.at + frames.HEAD : last.end])
            account = (last.samples, last.span + self._span, last.position, last.flags)
            frames.write(self.buffer, last.at, payload, account)


def _continues(one: record.Batch, other: record.Batch) -> bool:
    """Whether the samples of `other` can go on in `one`: same meaning, same steps of seq."""
    samples = one.samples + other.samples
    same = one.boot == other.boot and one.schema_id == other.schema_id
    if not same or one.dated != other.dated or samples > 120:
        return False
    step = other.seq - one.seq_of(one.samples - 1)
    if not 0 < step <= 0xFFFF:
        return False
    return (one.samples == 1 or one.stride == step) and (
        other.samples == 1 or other.stride == step
    )


def thin(lane: "Lane", keep: int, seal: "Any" = None) -> int:
    """Merge the `keep` oldest segments of the finest level; the samples lost, 0: none can."""
    run = lanecare.thinnable(lane, keep)
    if not run:
        return 0
    output = _Output(lane.segment_bytes, keep, len(lane.cache.buffer), seal)
    before = 0
    for segment in run:
        for frame in lane.frames(segment.number, 0):
            before += frame.samples
            output.take(memoryview(lane.cache.buffer)[frame.at + frames.HEAD : frame.end], frame)
    output.finish()
    lost = before - output.kept
    if not output.kept or not lost:
        return 0
    already = sum(segment.lost for segment in run)
    merged = Segment(run[-1].number, run[0].first, run[0].level + 1, already + lost)
    merged.size = output.fill
    lane.storage.write_atomic(lane.path(merged), memoryview(output.buffer)[: output.fill])
    lanecare.replace(lane, run, merged, lost)
    return lost
