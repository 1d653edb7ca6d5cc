"""The packets a session has to send, in one ring of bytes, until they are acknowledged.

Theory. Publishes lie back to back in `arena` and stay there until their PUBACK, so what is
resent after a reconnect is the very bytes sent before, in their order, with their packet id,
plus the DUP flag (4.4); and neighbours go out with one write. Packets are made by one
struct.pack_into with a format kept in the topic: on MicroPython a slice is an allocation and a
loop is forty times slower. The padding it leaves is overwritten by the next packet.

Invariants. Entries are in the order of their first transmission; entry k, counted from the
oldest, has been written as a whole or in part iff k < sent + taking. A packet id of 0 marks an
entry that was acknowledged out of turn. QoS 0 packets are `loose` bytes behind the last entry:
never kept, never beside an unwritten entry. Once the formats exist, nothing is allocated.
"""

from struct import pack_into

from micropython import const
from node.core.errors import CallerError
from node.core.mqtt.topic import Topic

_FLIGHT = const(1100)  # bytes per write: what one TCP segment carries


class Window:
    """Up to `slots` unacknowledged publishes in `size` bytes."""

    topic = Topic  # makes what publish() wants of a name

    def __init__(self, slots: int, size: int) -> None:
        self.arena = bytearray(size)
        self.limit = slots  # MQTT 5 brokers may lower it
        self.longest = 268435455  # MQTT 5 brokers may bound a packet
        self.open = False  # QoS 0 may be sent
        self.tail = b""  # MQTT 5: the properties of every publish
        self.count = 0
        self.sent = 0  # entries written as a whole on this link
        self.taking = 0  # entries being written
        self.loose = 0  # bytes of QoS 0; who has written them says so by a 0 here
        self.moved = False  # something was acknowledged, or became the oldest
        self.at = 0  # where what `take` found begins
        self.token: object = 0
        self.pid = 0  # given out last
        self._leaving = False  # the loose bytes, if there are any, are being written
        self._size = size
        self._slots = slots
        self._pids = [0] * slots
        self._offs = [0] * slots
        self._lens = [0] * slots
        self._tokens: list[object] = [0] * slots
        self._first = 0
        self._top = 0
        self._loose_at = 0

    def publish(
        self, topic: Topic, payload: bytes, qos: int = 1, retain: bool = False, token: object = 0
    ) -> bool:
        """Append one message, copying its payload; False when there is no room for it now."""
        count = self.count
        if qos:
            if count >= self.limit or self.loose:
                return False
            first = 0x33 if retain else 0x32
        else:
            if self.sent < count or not self.open or self.loose and self._leaving:
                return False
            first = 0x31 if retain else 0x30
        if topic.first != first or topic.size != len(payload):
            topic.prepare(len(payload), first, len(self.tail))
            self._check(topic)
        if count:
            at = self._place(topic.need)
            if at < 0:
                return False
        else:
            at = self._top if self.loose else 0
            if self._size - at < topic.need:
                return False
        total = topic.total
        if not qos:
            pack_into(topic.form, self.arena, at, topic.head, payload)
            if not self.loose:
                self._loose_at = at
                self._leaving = False
            self.loose += total
        else:
            pid = self.pid + 1
            if pid > 65535 or pid in self._pids:
                pid = self.next_pid()
            self.pid = pid
            pack_into(topic.form, self.arena, at, topic.head, pid, payload)
            i = self._first + count
            if i >= self._slots:
                i -= self._slots
            self._pids[i] = pid
            self._offs[i] = at
            self._lens[i] = total
            self._tokens[i] = token
            self.count = count + 1
            if not count:
                self.moved = True
        self._top = at + total
        if len(self.tail) > 1:
            self._put_tail(at + total - len(payload))
        return True

    def next_pid(self) -> int:
        """2.3.1: 1 to 65535, none that is still in use."""
        pid = self.pid + 1
        while pid > 65535 or pid in self._pids:
            pid = pid + 1 if pid < 65535 else 1
        self.pid = pid
        return pid

    def take(self, most: int = 65535) -> int:
        """Point `at` at what is to be written next, and return its length: the oldest unwritten
        entry and those lying right behind it, or the loose bytes."""
        k = self.sent
        count = self.count
        if k == count:
            if not self.loose:
                return 0
            self._leaving = True
            self.at = self._loose_at
            return self.loose
        if count > self.limit:  # 4.9 of MQTT 5: a broker that now takes fewer at a time
            count = self.limit
            if k >= count:
                return 0
        i = self._first + k
        if i >= self._slots:
            i -= self._slots
        self.at = at = self._offs[i]
        left = self._lens[i]
        k += 1
        while k < count and left < _FLIGHT and k - self.sent < most:
            i = self._index(k)
            if self._offs[i] != at + left:
                break
            left += self._lens[i]
            k += 1
        self.taking = k - self.sent
        return left

    def acked(self, pid: int) -> bool:
        """PUBACK `pid`: its token is in `token`. False when no written entry has that id."""
        i = self._first
        sent = self.sent
        if self._pids[i] == pid and sent:
            self.moved = True
            self.token = self._tokens[i]
            self._pids[i] = self._tokens[i] = 0
            i += 1
            self._first = i = 0 if i == self._slots else i
            self.count = count = self.count - 1
            self.sent = sent - 1
            if count and not self._pids[i]:
                self._drop()
            return True
        return self._acked_late(pid)

    def _acked_late(self, pid: int) -> bool:
        """Not the oldest, or not wholly written as far as we know."""
        for k in range(self.sent + self.taking):
            i = self._index(k)
            if self._pids[i] == pid and pid:
                self.moved = True
                self.token = self._tokens[i]
                self._pids[i] = self._tokens[i] = 0
                self._drop()
                return True
        return False

    def rewind(self, partly: bool) -> int:
        """A new link: everything is to be written again, in order. What was written before (or
        `partly`, of what was being written) carries DUP (3.3.1.1); returns how many that is."""
        begun = self.sent + (self.taking if partly else 0)
        kept = again = 0
        for k in range(self.count):
            i = self._index(k)
            if self._pids[i]:
                if k < begun:
                    self.arena[self._offs[i]] |= 8
                    again += 1
                self._move(i, self._index(kept))
                kept += 1
        self.count = kept
        self.sent = self.taking = self.loose = 0
        return again

    def _move(self, i: int, j: int) -> None:
        """Close the gap that an entry acknowledged out of turn has left."""
        if i != j:
            self._offs[j] = self._offs[i]
            self._lens[j] = self._lens[i]
            self._tokens[j] = self._tokens[i]
            self._pids[j] = self._pids[i]
            self._pids[i] = self._tokens[i] = 0

    def span(self, k: int) -> tuple[int, int]:
        """Offset and length of the k-th oldest packet."""
        i = self._index(k)
        return self._offs[i], self._lens[i]

    def shrink(self, k: int, packet: bytes) -> None:
        """Put a packet that is not longer in the place of the k-th oldest."""
        i = self._index(k)
        self.arena[self._offs[i] : self._offs[i] + len(packet)] = packet
        self._lens[i] = len(packet)

    def _drop(self) -> None:
        """Entries at the front that were acknowledged leave the ring."""
        while self.count and not self._pids[self._first]:
            self._first = self._index(1)
            self.count -= 1
            if self.sent:
                self.sent -= 1
            else:
                self.taking -= 1

    def _index(self, k: int) -> int:
        i = self._first + k
        return i - self._slots if i >= self._slots else i

    def _place(self, need: int) -> int:
        """Where `need` bytes fit into the ring beside its entries; -1 when nowhere, now."""
        at = self._top
        bottom = self._offs[self._first]
        if at <= bottom:
            return at if bottom - at >= need else -1
        if self._size - at >= need:
            return at
        return 0 if bottom >= need and not self.loose else -1

    def _check(self, topic: Topic) -> None:
        """A payload that can never be sent is the caller's fault, and is found out at once."""
        if topic.need > self._size or topic.total > self.longest:
            topic.size = -1
            raise CallerError("too_large", topic.total)

    def _put_tail(self, end: int) -> None:
        start = end - len(self.tail)
        for i in range(len(self.tail)):
            self.arena[start + i] = self.tail[i]
