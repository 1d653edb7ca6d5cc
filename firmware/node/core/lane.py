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
from node.core.segment import Segment, parse_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from node.core.frame import Frame

_WINDOW = const(16)
_MASK = const(0xFFFFFFFF)
_LEVEL_MAX = const(8)  # 120 samples thinned by 2 nine times still fit a span


class _Sent:
    """A record on its way: the end of its frame; `gone` when its segment was dropped since."""

    def __init__(self, token: int, end: "tuple[int, int]", found: "Frame") -> None:
        self.token = token
        self.end = end
        self.position = found.next_position
        self.samples = found.samples
        self.acked = False
        self.gone = False


class Lane:
    """`sizes` = (segment bytes, buffer bytes). The constructor does no I/O: `open` does."""

    def __init__(self, storage: "Any", folder: str, letter: str, sizes: "tuple[int, int]") -> None:
        self._storage = storage
        self._folder = folder
        self.letter = letter
        self.segment_bytes, buffer_bytes = sizes
        self._buffer = bytearray(min(buffer_bytes, self.segment_bytes))
        self._fill = 0
        self.cache = bytearray(self.segment_bytes)
        self._cached = -1
        self.segments: list[Segment] = []
        self._garbage: list[str] = []
        self._head = (0, 0)
        self._head_position = 0
        self._send = (0, 0)
        self._send_position = 0
        self._tail = 0
        self._tail_size = 0  # of the file; the buffer comes behind it
        self._position = 0
        self._sent: list[_Sent] = []
        self.queued = 0
        self.unflushed = 0
        self.delivered = 0
        self._dropped = 0
        self.damaged = 0

    def path(self, segment: Segment) -> str:
        return self._folder + "/" + segment.name(self.letter)

    @property
    def dropped(self) -> int:
        """Samples given up by policy or to damage, those thinned out of the queue included."""
        return self._dropped + sum(segment.lost for segment in self.segments)

    @property
    def inflight(self) -> int:
        return len(self._sent)

    # --- recovery

    def open(self, state: "list[int] | None") -> None:
        """Find the queue again; `state` is what `state()` gave before the power went, or None."""
        first = 0
        if state is not None:
            first = state[0]
            self._head = (state[0], state[1])
            self.delivered, self._dropped, self._head_position = state[2:5]
        self._adopt(first)
        known = state is not None
        if self.segments and self.segments[0].number > self._head[0]:
            self._head = (self.segments[0].number, 0)
            known = known and state is not None and state[1] == 0
        self._tail = max(self._head[0], self.segments[-1].number if self.segments else 0)
        self._position = self._head_position
        self._find_tail()
        self._count_queue(known)
        self._send, self._send_position = self._head, self._head_position

    def _adopt(self, first: int) -> None:
        """List the segments from `first` on; remove what stands for nothing."""
        for name in sorted(self._storage.listdir(self._folder)):
            if name[:1] != self.letter:
                continue
            segment = parse_name(name)
            if segment is None or segment.number < first:
                self._storage.remove(self._folder + "/" + name)
                continue
            # A thinned segment sorts behind the originals that it stands for.
            while self.segments and self.segments[-1].number >= segment.first:
                self._storage.remove(self.path(self.segments.pop()))
            self.segments.append(segment)
        # A file that was created and never closed is empty: the cut came before its first record.
        while self.segments and self.load(self.segments[-1].number) == 0:
            self._storage.remove(self.path(self.segments.pop()))

    def _find_tail(self) -> None:
        """Walk the last segment to its end; a damaged one is not written to again."""
        size = self.load(self._tail)
        self._tail_size = size
        for frame in self.frames(self._tail, 0):
            self._position = frame.next_position
            if frame.end == size:
                return
        if size:
            self._new_tail()

    def _count_queue(self, known: bool) -> None:
        """What lies between head and tail; without a state the head is the first frame found."""
        hidden = 0
        for segment in self.segments:
            if segment.number > self._head[0] and known:
                hidden += segment.lost
                continue
            at = self._head[1] if segment.number == self._head[0] else 0
            for frame in self.frames(segment.number, at):
                hidden += frame.span - frame.samples
                if not known:
                    self._head_position, known = frame.position, True
        if not known:
            self._head_position = self._position
        self.queued = max(0, (self._position - self._head_position & _MASK) - hidden)

    # --- reading a segment

    def load(self, number: int) -> int:
        """Have segment `number` in the cache; its size."""
        segment = self.find(number)
        if segment is None:
            return 0
        if self._cached != number:
            self._cached = -1
            segment.size = self._storage.read_into(self.path(segment), 0, self.cache)
            self._cached = number
        return segment.size

    def frames(self, number: int, at: int) -> "Iterator[Frame]":
        """The frames of a segment from offset `at` to its end or the first damage."""
        size = self.load(number)
        while at < size:
            frame = frames.read(self.cache, at, size)
            if frame is None:
                return
            yield frame
            at = frame.end

    def find(self, number: int) -> "Segment | None":
        for segment in self.segments:
            if segment.number == number:
                return segment
        return None

    def _after(self, number: int) -> int:
        """The number of the segment behind `number`."""
        for segment in self.segments:
            if segment.number > number:
                return segment.number
        return self._tail

    # --- appending

    def fits(self, size: int) -> bool:
        """Whether a payload of `size` can be kept at all."""
        return frames.HEAD + size <= len(self._buffer)

    def room(self, size: int) -> bool:
        """Whether a payload of `size` fits the buffer as it stands."""
        end = self._fill + frames.HEAD + size
        return end <= len(self._buffer) and self._tail_size + end <= self.segment_bytes

    def append(self, payload: "Any", samples: int, flags: int) -> None:
        """Put a record behind the others; the caller has asked `room`."""
        account = (samples, samples, self._position, flags)
        self._fill = frames.write(self._buffer, self._fill, payload, account)
        self._position = self._position + samples & _MASK
        self.queued += samples
        self.unflushed += samples

    def flush(self) -> bool:
        """Move the buffer to flash in one append; True when there was something to move."""
        if self._fill == 0:
            return False
        segment = self.find(self._tail) or Segment(self._tail)
        self._storage.append(self.path(segment), memoryview(self._buffer)[: self._fill])
        if self._tail_size == 0:
            self.segments.append(segment)
        self._tail_size += self._fill
        segment.size = self._tail_size
        self._fill = 0
        self.unflushed = 0
        if self._cached == self._tail:
            self._cached = -1
        return True

    def roll(self) -> None:
        """Start a new segment; the buffer is empty."""
        if self._tail_size:
            self._new_tail()

    def _new_tail(self) -> None:
        end = (self._tail, self._tail_size)
        self._tail += 1
        self._tail_size = 0
        if self._send >= end:
            self._send = (self._tail, 0)
        if self._head >= end:
            self._head = (self._tail, 0)

    # --- sending

    def next(self, token: int) -> "tuple[memoryview, int] | None":
        """The next record to send and its flags, or None. The view holds until the next call."""
        while len(self._sent) < _WINDOW:
            number, offset = self._send
            source, at, limit = self.cache, offset, 0
            if number == self._tail and offset >= self._tail_size:
                source, at, limit = self._buffer, offset - self._tail_size, self._fill
                if at >= limit:
                    return None
            else:
                limit = self.load(number)
            frame = frames.read(source, at, limit)
            if frame is not None:
                return self._hand_out(token, source, frame)
            if number == self._tail:  # a damaged tail: go on in a new segment
                self.flush()
                self._new_tail()
            self._send = (self._after(number), 0)
        return None

    def _hand_out(self, token: int, source: bytearray, frame: "Frame") -> "tuple[memoryview, int]":
        missing = frame.position - self._send_position & _MASK
        if 0 < missing <= self.queued:  # frames before this one could not be read
            self.queued -= missing
            self._dropped += missing
            self.damaged += missing
        number, offset = self._send
        self._send = (number, offset + frames.HEAD + frame.size)
        self._send_position = frame.next_position
        self._sent.append(_Sent(token, self._send, frame))
        return memoryview(source)[frame.at + frames.HEAD : frame.end], frame.flags

    # --- acknowledgement

    def acked(self, token: int) -> bool:
        """The broker has the record: False when `token` is not one of this lane's."""
        for sent in self._sent:
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
            self._dropped -= sent.samples
        else:
            self.queued -= sent.samples

    def _advance(self) -> None:
        """Move the head over everything acknowledged without a gap."""
        while self._sent and self._sent[0].acked:
            sent = self._sent.pop(0)
            if not sent.gone:
                self._head, self._head_position = sent.end, sent.position
        if self._fill and self._head == (self._tail, self._tail_size + self._fill):
            # All of the buffer is acknowledged: it never needs to be written.
            self._position = self._position - self.unflushed & _MASK
            self._fill = self.unflushed = 0
            self._head = self._send = (self._tail, self._tail_size)
            self._head_position = self._send_position = self._position

    def rewind(self) -> None:
        """The session is lost: hand out again what was handed out and not acknowledged."""
        for sent in self._sent:
            if sent.acked and not sent.gone:  # behind a gap: it will be sent, and counted, again
                self.delivered -= sent.samples
                self.queued += sent.samples
        self._sent = []
        self._send, self._send_position = self._head, self._head_position

    # --- removal

    def settle(self) -> bool:
        """Take finished segments off the list; True when `state()` must be saved, then `sweep`."""
        if not self._fill and self._tail_size and self._head == (self._tail, self._tail_size):
            self._new_tail()
        while self.segments and self._finished(self.segments[0]):
            self._discard()
        return bool(self._garbage)

    def _finished(self, segment: Segment) -> bool:
        number, offset = self._head
        if segment.number != number or number == self._tail:
            return segment.number < number
        size = segment.size if segment.size >= 0 else self.load(number)
        if offset < size:
            return False
        self._head = (self._after(number), 0)
        self._send = max(self._send, self._head)
        return True

    def _discard(self) -> None:
        segment = self.segments.pop(0)
        self._dropped += segment.lost
        self._garbage.append(self.path(segment))

    def drop_oldest(self) -> int:
        """Give up the oldest segment on flash: the samples it costs. Then save, and `sweep`."""
        if not self.segments:
            return 0
        number = self.segments[0].number
        if number == self._tail:
            self.flush()
            self._new_tail()
        lost = 0
        at = self._head[1] if self._head[0] == number else 0
        for frame in self.frames(number, at):
            lost += frame.samples
            self._head_position = frame.next_position
        for sent in self._sent:
            if sent.end[0] == number and not sent.gone:
                sent.gone = True
                lost -= sent.samples if sent.acked else 0
        self.queued -= lost
        self._dropped += lost
        self._head = max(self._head, (self._after(number), 0))
        if self._send < self._head:
            self._send, self._send_position = self._head, self._head_position
        self._discard()
        return lost

    def thinnable(self, keep: int) -> "list[Segment]":
        """The oldest run of `keep` segments of the finest level that nothing is reading."""
        best: list[Segment] = []
        for index in range(len(self.segments) - keep + 1):
            run = self.segments[index : index + keep]
            if run[0].number <= self._send[0] or run[-1].number >= self._tail:
                continue
            level = run[0].level
            if level >= _LEVEL_MAX or any(segment.level != level for segment in run):
                continue
            if not best or level < best[0].level:
                best = run
        return best

    def replace(self, run: "list[Segment]", merged: Segment, lost: int) -> None:
        """`merged` is on flash and stands for `run`."""
        at = self.segments.index(run[0])
        self.segments[at : at + len(run)] = [merged]
        self.queued -= lost
        self._cached = -1
        for segment in run:
            self._storage.remove(self.path(segment))

    def sweep(self) -> bool:
        """Remove the files of finished segments once `state()` was saved; False: none."""
        swept = bool(self._garbage)
        while self._garbage:
            self._storage.remove(self._garbage[0])
            self._garbage.pop(0)
        return swept

    def state(self) -> "list[int]":
        """What recovery must know: segment, offset, delivered, dropped, position."""
        number, offset = self._head
        position = self._head_position
        if number == self._tail and offset > self._tail_size:
            offset, position = self._tail_size, self._position - self.unflushed & _MASK
        return [number, offset, self.delivered, self._dropped, position]
