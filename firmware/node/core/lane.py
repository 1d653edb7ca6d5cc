"""One lane of the outbox: a queue of records in numbered segment files, its newest part in RAM.

A segment is at most one erase block and is written in few appends, because littlefs copies the
tail block of a file on each: one flush costs one erase however much it carries. A record lives at
(segment, offset); what is in the RAM buffer already has the address where a flush will put it.
Three cursors, head <= send <= tail: acknowledged up to head, handed out up to send, appended up
to tail. What is acknowledged while still in the buffer never costs flash.

The segments on flash are a short list (bounded by the outbox), so recovery reads the folder and
two segments, whatever the backlog. The persisted `state()` is the truth about the head: it is
written *before* a segment is removed, so that a power cut leaves garbage, never a gap in the
accounts.
"""

from micropython import const
from node.core import frame as frames
from node.core.segment import Segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from node.core.frame import Frame

_WINDOW = const(16)
_MASK = const(0xFFFFFFFF)


class _Sent:
    """A record on its way: the end of its frame; `gone` when its segment was dropped since."""

    def __init__(self, token: int, end: "tuple[int, int]", found: "Frame") -> None:
        self.token = token
        self.end = end
        self.position = found.next_position
        self.samples = found.samples
        self.acked = False
        self.gone = False


class Cache:
    """What was last read of a segment on flash: one for all lanes, as large as any frame."""

    def __init__(self, size: int) -> None:
        self.buffer = bytearray(size)
        self.lane: Lane | None = None
        self.number = self.offset = self.size = 0

    def holds(self, lane: "Lane", number: int, offset: int) -> bool:
        mine = self.lane is lane and self.number == number
        return mine and self.offset <= offset < self.offset + self.size


class Lane:
    """`sizes` = (segment bytes, buffer bytes). The constructor does no I/O: `open` does.

    What is rarely needed, recovery and giving way, is in `node.core.lanecare`; the attributes
    without a docstring are for it.
    """

    def __init__(
        self,
        storage: "Any",
        folder: str,
        letter: str,
        sizes: "tuple[int, int]",
        cache: "Cache | None" = None,
    ) -> None:
        self.storage = storage
        self.folder = folder
        self.letter = letter
        self.segment_bytes, buffer_bytes = sizes
        self._buffer = bytearray(min(buffer_bytes, self.segment_bytes))
        self._fill = 0
        self.cache = cache or Cache(self.segment_bytes)
        self.segments: list[Segment] = []
        self._garbage: list[str] = []
        self.head = (0, 0)
        self.head_position = 0
        self.send = (0, 0)
        self.send_position = 0
        self.tail = 0
        self.tail_size = 0  # of the file; the buffer comes behind it
        self.position = 0
        self.sent: list[_Sent] = []
        self.queued = 0
        self.unflushed = 0
        self.delivered = 0
        self.given_up = 0
        self.damaged = 0

    def path(self, segment: Segment) -> str:
        return self.folder + "/" + segment.name(self.letter)

    @property
    def dropped(self) -> int:
        """Samples given up by policy or to damage, those thinned out of the queue included."""
        return self.given_up + sum(segment.lost for segment in self.segments)

    @property
    def inflight(self) -> int:
        return len(self.sent)

    def open(self, state: "list[int] | None") -> None:
        """Find the queue again; `state` is what `state()` gave before the power went, or None."""
        from node.core import lanecare

        lanecare.recover(self, state)

    # --- reading a segment

    def frame(self, number: int, offset: int) -> "Frame | None":
        """The frame at `offset` of a segment on flash, its bytes in the cache; None behind the
        last one, and where the segment is damaged.
        """
        segment = self.find(number)
        if segment is None:
            return None
        cache = self.cache
        if cache.holds(self, number, offset):
            frame = frames.read(cache.buffer, offset - cache.offset, cache.size)
            if frame is not None or cache.offset == offset:
                return frame
        cache.lane = None
        cache.size = self.storage.read_into(self.path(segment), offset, cache.buffer)
        cache.lane, cache.number, cache.offset = self, number, offset
        return frames.read(cache.buffer, 0, cache.size)

    def frames(self, number: int, offset: int) -> "Iterator[Frame]":
        """The frames of a segment from `offset` to its end or the first damage."""
        while True:
            frame = self.frame(number, offset)
            if frame is None:
                return
            offset += frames.HEAD + frame.size
            yield frame

    def size(self, number: int) -> int:
        """Bytes of a segment on flash."""
        segment = self.find(number)
        if segment is None:
            return 0
        if segment.size < 0:
            segment.size = self.storage.size(self.path(segment)) or 0
        return segment.size

    def find(self, number: int) -> "Segment | None":
        for segment in self.segments:
            if segment.number == number:
                return segment
        return None

    def after(self, number: int) -> int:
        """The number of the segment behind `number`."""
        for segment in self.segments:
            if segment.number > number:
                return segment.number
        return self.tail

    # --- appending

    def fits(self, size: int) -> bool:
        """Whether a payload of `size` can be kept at all."""
        return frames.HEAD + size <= len(self._buffer)

    def room(self, size: int) -> bool:
        """Whether a payload of `size` fits the buffer as it stands."""
        end = self._fill + frames.HEAD + size
        return end <= len(self._buffer) and self.tail_size + end <= self.segment_bytes

    def append(self, payload: "Any", samples: int, flags: int) -> None:
        """Put a record behind the others; the caller has asked `room`."""
        account = (samples, samples, self.position, flags)
        self._fill = frames.write(self._buffer, self._fill, payload, account)
        self.position = self.position + samples & _MASK
        self.queued += samples
        self.unflushed += samples

    def flush(self) -> bool:
        """Move the buffer to flash in one append; True when there was something to move."""
        if self._fill == 0:
            return False
        segment = self.find(self.tail) or Segment(self.tail)
        self.storage.append(self.path(segment), memoryview(self._buffer)[: self._fill])
        if self.tail_size == 0:
            self.segments.append(segment)
        self.tail_size += self._fill
        segment.size = self.tail_size
        self._fill = 0
        self.unflushed = 0
        self.cache.lane = None
        return True

    def roll(self) -> None:
        """Start a new segment; the buffer is empty."""
        if self.tail_size:
            self.new_tail()

    def new_tail(self) -> None:
        end = (self.tail, self.tail_size)
        self.tail += 1
        self.tail_size = 0
        if self.send >= end:
            self.send = (self.tail, 0)
        if self.head >= end:
            self.head = (self.tail, 0)

    # --- sending

    def next(self, token: int) -> "tuple[memoryview, int] | None":
        """The next record to send and its flags, or None. The view holds until the next call."""
        while len(self.sent) < _WINDOW:
            number, offset = self.send
            if number == self.tail and offset >= self.tail_size:
                source, at = self._buffer, offset - self.tail_size
                if at >= self._fill:
                    return None
                frame = frames.read(source, at, self._fill)
            else:
                source = self.cache.buffer
                frame = self.frame(number, offset)
            if frame is not None:
                return self._hand_out(token, source, frame)
            if number == self.tail:  # a damaged tail: go on in a new segment
                self.flush()
                self.new_tail()
            self.send = (self.after(number), 0)
        return None

    def _hand_out(self, token: int, source: bytearray, frame: "Frame") -> "tuple[memoryview, int]":
        missing = frame.position - self.send_position & _MASK
        if 0 < missing <= self.queued:  # frames before this one could not be read
            self.queued -= missing
            self.given_up += missing
            self.damaged += missing
        number, offset = self.send
        self.send = (number, offset + frames.HEAD + frame.size)
        self.send_position = frame.next_position
        self.sent.append(_Sent(token, self.send, frame))
        return memoryview(source)[frame.at + frames.HEAD : frame.end], frame.flags

    # --- acknowledgement

    def acked(self, token: int) -> bool:
        """The broker has the record: False when `token` is not one of this lane's."""
        for sent in self.sent:
            if sent.token == token:
                if not sent.acked:
                    self._count_ack(sent)
                    self._advance()
                return True
        return False

    def _count_ack(self, sent: _Sent) -> None:
        sent.acked = True
        self.delivered += sent.samples
        if sent.gone:
            self.given_up -= sent.samples
        else:
            self.queued -= sent.samples

    def _advance(self) -> None:
        """Move the head over everything acknowledged without a gap."""
        while self.sent and self.sent[0].acked:
            sent = self.sent.pop(0)
            if not sent.gone:
                self.head, self.head_position = sent.end, sent.position
        if self._fill and self.head == (self.tail, self.tail_size + self._fill):
            # All of the buffer is acknowledged: it never needs to be written.
            self.position = self.position - self.unflushed & _MASK
            self._fill = self.unflushed = 0
            self.head = self.send = (self.tail, self.tail_size)
            self.head_position = self.send_position = self.position

    def rewind(self) -> None:
        """The session is lost: hand out again what was handed out and not acknowledged."""
        for sent in self.sent:
            if sent.acked and not sent.gone:  # behind a gap: it will be sent, and counted, again
                self.delivered -= sent.samples
                self.queued += sent.samples
        self.sent = []
        self.send, self.send_position = self.head, self.head_position

    # --- removal

    def settle(self) -> bool:
        """Take finished segments off the list; True when `state()` must be saved, then `sweep`."""
        if not self._fill and self.tail_size and self.head == (self.tail, self.tail_size):
            self.new_tail()
        while self.segments and self._finished(self.segments[0]):
            self.discard()
        return bool(self._garbage)

    def _finished(self, segment: Segment) -> bool:
        number, offset = self.head
        if segment.number != number or number == self.tail:
            return segment.number < number
        if offset < self.size(number):
            return False
        self.head = (self.after(number), 0)
        self.send = max(self.send, self.head)
        return True

    def discard(self) -> None:
        segment = self.segments.pop(0)
        self.given_up += segment.lost
        self._garbage.append(self.path(segment))

    def drop_oldest(self) -> int:
        """Give up the oldest segment on flash: the samples it costs. Then save, and `sweep`."""
        from node.core import lanecare

        return lanecare.drop_oldest(self)

    def sweep(self) -> bool:
        """Remove the files of finished segments once `state()` was saved; False: none."""
        swept = bool(self._garbage)
        while self._garbage:
            self.storage.remove(self._garbage[0])
            self._garbage.pop(0)
        return swept

    def state(self) -> "list[int]":
        """What recovery must know: segment, offset, delivered, dropped, position."""
        number, offset = self.head
        position = self.head_position
        if number == self.tail and offset > self.tail_size:
            offset, position = self.tail_size, self.position - self.unflushed & _MASK
        return [number, offset, self.delivered, self.given_up, position]
