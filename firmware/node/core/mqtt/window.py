"""The packets a session has to send, in one ring of bytes, until they are acknowledged.

Theory. Publishes lie back to back in `arena` and stay there until their PUBACK, so what is
resent after a reconnect is the very bytes sent before, in their order, with their packet id,
plus the DUP flag (4.4); and neighbours go out with one write. Copies go through
struct.pack_into with a prepared format: on MicroPython a slice is an allocation and a loop is
forty times slower. The format pads the payload with zeros to a multiple of 64, so that few
formats serve all lengths; the next packet overwrites the padding.

Invariants. Entries are in the order of their first transmission; entry k, counted from the
oldest, has been written as a whole or in part iff k < sent + taking. A packet id of 0 marks an
entry whose turn to leave the ring has not come. Once the formats exist, nothing is allocated.
"""

from struct import pack_into

from micropython import const
from node.core.errors import CallerError
from node.core.mqtt.codec import Topic

_GRAIN = const(64)
_FLIGHT = const(1100)  # bytes per write: what one TCP segment carries
_LONGEST = const(16383)  # a remaining length of two bytes


class Window:
    """Up to `count` unacknowledged publishes in `size` bytes."""

    def __init__(self, count: int, size: int) -> None:
        self.arena = bytearray(size)
        self.limit = count  # MQTT 5 brokers may lower it
        self.count = 0
        self.sent = 0  # entries written as a whole on this link
        self.taking = 0  # entries being written
        self.at = 0  # what `take` or `scratch` found
        self.left = 0
        self.token: object = 0
        self.pid = 0  # given out last
        self._size = size
        self._slots = count
        self._pids = [0] * count
        self._offs = [0] * count
        self._lens = [0] * count
        self._tokens: list[object] = [0] * count
        self._first = 0
        self._top = 0
        self._pads: list[str] = []

    def next_pid(self) -> int:
        """2.3.1: 1 to 65535, none that is still in use."""
        pid = self.pid
        while True:
            pid = pid + 1 if pid < 65535 else 1
            if pid not in self._pids:
                self.pid = pid
                return pid

    def scratch(self, topic: Topic, payload: bytes, first: int, tail: bytes) -> bool:
        """Write a QoS 0 publish where the next entry will go, to be sent at once."""
        at = self._place(topic.size + len(tail) + len(payload))
        if at < 0:
            return False
        self.left = self._write(at, topic, payload, first, tail)
        self.at = at
        return True

    def add(self, topic: Topic, payload: bytes, first: int, tail: bytes, token: object) -> bool:
        """Append a QoS 1 publish, if there is room."""
        count = self.count
        if count >= self.limit:
            return False
        at = self._place(topic.size + len(tail) + len(payload))
        if at < 0:
            return False
        i = self._first + count
        if i >= self._slots:
            i -= self._slots
        self._pids[i] = self.next_pid()
        self._offs[i] = at
        self._lens[i] = size = self._write(at, topic, payload, first, tail)
        self._tokens[i] = token
        self._top = at + size
        self.count = count + 1
        return True

    def take(self, most: int = 65535) -> bool:
        """Point `at`, `left` at the oldest unwritten entry and those lying right behind it."""
        k = self.sent
        if k == self.count:
            return False
        i = self._index(k)
        self.at = self._offs[i]
        end = self.at + self._lens[i]
        k += 1
        while k < self.count and k - self.sent < most and end - self.at < _FLIGHT:
            i = self._index(k)
            if self._offs[i] != end:
                break
            end += self._lens[i]
            k += 1
        self.left = end - self.at
        self.taking = k - self.sent
        return True

    def written(self) -> None:
        """What `take` found has gone out."""
        self.sent += self.taking
        self.taking = 0

    def acked(self, pid: int) -> bool:
        """PUBACK `pid`: its token is in `token`. False when no written entry has that id."""
        k = 0
        i = self._first
        while self._pids[i] != pid or k >= self.sent + self.taking:
            k += 1
            if k >= self.sent + self.taking:
                return False
            i = self._index(k)
        self.token = self._tokens[i]
        self._tokens[i] = 0
        self._pids[i] = 0
        while self.count and not self._pids[self._first]:
            self._drop()
        return True

    def rewind(self, partly: bool) -> int:
        """A new link: everything is to be written again, in order. What was written before (or
        `partly`, of what was being written) carries DUP (3.3.1.1); returns how many that is."""
        begun = self.sent + (self.taking if partly else 0)
        again = 0
        for k in range(begun):
            i = self._index(k)
            if self._pids[i]:
                self.arena[self._offs[i]] |= 8
                again += 1
        self.sent = self.taking = 0
        return again

    def _drop(self) -> None:
        self._first = self._index(1)
        self.count -= 1
        if self.sent:
            self.sent -= 1
        else:
            self.taking -= 1

    def _index(self, k: int) -> int:
        i = self._first + k
        return i - self._slots if i >= self._slots else i

    def _place(self, size: int) -> int:
        """Where a packet of `size` and its padding fit into the ring; -1 when nowhere, now."""
        need = size + 5 + _GRAIN
        if need > self._size or size > _LONGEST:
            raise CallerError("too_large", size)
        if not self.count:
            return 0
        top = self._top
        bottom = self._offs[self._first]
        if top > bottom:
            if self._size - top >= need:
                return top
            top = 0
        return top if bottom - top >= need else -1

    def _write(self, at: int, topic: Topic, payload: bytes, first: int, tail: bytes) -> int:
        """3.3: the packet, at `at`; returns its length. QoS 0 has no packet id: the format
        writes one, and what follows overwrites it."""
        arena = self.arena
        rest = len(tail) + len(payload)
        pid = self.pid
        size = topic.size + rest
        if first & 2:
            size += 2
        name = topic.name
        if size < 128:
            pack_into(topic.short, arena, at, first, size, topic.length, name, pid)
            total = size + 2
        else:
            low = size & 127 | 128
            pack_into(topic.long, arena, at, first, low, size >> 7, topic.length, name, pid)
            total = size + 3
        if rest:
            at += total - rest
            if tail:
                pack_into(self._pad(len(tail)), arena, at, tail)
                at += len(tail)
            pack_into(self._pad(len(payload)), arena, at, payload)
        return total

    def _pad(self, size: int) -> str:
        grain = (size + _GRAIN - 1) // _GRAIN
        while grain >= len(self._pads):
            self._pads.append("%ds" % (len(self._pads) * _GRAIN))
        return self._pads[grain]
