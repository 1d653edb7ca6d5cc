"""The few packets of a short conversation, each in a piece of memory of its own, until they are
acknowledged: what `window` is to a session that lasts.

A device on a battery connects, says a handful of messages and sleeps. It gains nothing from a
publish that allocates nothing, and the ring, its tables and its code are memory that TLS wants.
This has the attributes and methods of `window.Window` that a session and a connection use, and
keeps the same rules: publishes are resent in their order, the same bytes with DUP set (4.4), with
the packet id they had; QoS 0 packets are `loose`, never kept, never beside an unwritten publish.
MQTT 3.1.1 only. One difference: what is acknowledged out of turn makes room at once.

Invariants. Publish k, counted from the oldest, has been written as a whole or in part iff
k < sent + taking; `sent` alone counts rightly when nothing is being written, for one of `taking`
may be acknowledged before its write is done. `arena` is `loose`, the same object, iff QoS 0
packets are being written.
"""

from micropython import const
from node.core.errors import CallerError
from node.core.mqtt.codec import packet, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FLIGHT = const(700)  # small packets leave with one write, up to so many bytes
_HEAD = const(5)  # 3.3: first byte, two of length, two of packet id


class Few:
    """Up to `limit` unacknowledged publishes, in about `size` bytes. Nothing is allocated before
    there is something to send; no memory for a message is no room for it."""

    at = 0  # `arena` is written from its beginning
    open = False  # QoS 0 may be sent
    moved = False  # something was acknowledged, or became the oldest

    def __init__(self, limit: int, size: int) -> None:
        self.limit = limit
        self._size = size
        self._kept: list[tuple[int, bytearray, object]] = []  # packet id, packet, token
        self.loose: Any = 0  # QoS 0 packets; who has written them says so by a 0 here
        self.arena: Any = b""  # what is being written
        self.count = self.sent = self.taking = self.pid = 0
        self.token: object = 0

    def topic(self, name: str) -> bytes:
        """What publish() wants for `name`."""
        for sign in "+#\0":
            if sign in name or not name:
                raise CallerError("topic", name)  # 3.3.2.1, 4.7.3
        return text(name.encode())

    def publish(
        self, topic: bytes, payload: bytes, qos: int = 1, retain: bool = False, token: object = 0
    ) -> bool:
        """Keep one message, copying its payload; False when there is no room for it now."""
        need = _HEAD + len(topic) + len(payload)
        if need > self._size:
            raise CallerError("too_large", need)
        if qos:
            if self.count >= self.limit or self.loose:
                return False
        elif self.sent < self.count or not self.open or self.arena is self.loose:
            return False
        for entry in self._kept:
            need += len(entry[1])
        if need + len(self.loose or b"") > self._size:
            return False
        try:
            if qos:
                pid = self.next_pid()
                topic += pid.to_bytes(2, "big")
            made = packet(0x30 | qos << 1 | retain, topic, payload)
            if not qos:
                self.loose = (self.loose or b"") + made
                return True
            self._kept.append((pid, made, token))
        except MemoryError:
            return False
        if not self.count:
            self.moved = True
        self.count += 1
        return True

    def next_pid(self) -> int:
        """2.3.1: 1 to 65535, none that is still in use."""
        self.pid = pid = self.pid % 65535 + 1
        for entry in self._kept:
            if entry[0] == pid:
                return self.next_pid()
        return pid

    def take(self, most: int = 65535) -> int:
        """Make `arena` what is to be written next, and return its length: the oldest unwritten
        publish and small ones behind it, or the loose bytes. `most` is MQTT 5's."""
        arena: bytes | bytearray = b""
        taking = 0
        for entry in self._kept[self.sent :]:
            if arena and len(arena) + len(entry[1]) > _FLIGHT:
                break
            arena = arena + entry[1] if arena else entry[1]  # what is kept stays as it is
            taking += 1
        self.taking = taking
        self.arena = arena or self.loose or b""
        return len(self.arena)

    def acked(self, pid: int) -> bool:
        """PUBACK `pid`: its token is in `token`. False when no written publish has that id."""
        for k in range(self.sent + self.taking):
            if self._kept[k][0] == pid:
                self.token = self._kept.pop(k)[2]
                self.count -= 1
                self.sent -= 1
                self.moved = True
                if not self.loose:
                    self.arena = b""  # the session holds what it has not written yet
                return True
        return False

    def rewind(self, partly: bool) -> int:
        """A new link: everything is to be written again, in order. What was written before (or
        `partly`, of what was being written) carries DUP (3.3.1.1); returns how many that is."""
        again = self.sent + (self.taking if partly else 0)
        for k in range(again):
            self._kept[k][1][0] |= 8
        self.sent = self.taking = self.loose = 0
        self.arena = b""
        return again
