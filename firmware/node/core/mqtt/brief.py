"""One short conversation: CONNECT and some publishes at once, their PUBACKs, DISCONNECT.

For a device that wakes to say a few things and has nothing to hear: no window, no reconnect, no
subscriptions, a tenth of the heap of `session`. What was not acknowledged is still the caller's,
and is said again on the next wake.

    brief = Brief(options); brief.add(topic, payload); ...
    write brief.out; feed() what comes back until done(); write brief.END
"""

from node.core.mqtt.codec import connect_packet, packet, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from node.core.mqtt.codec import Options


class Brief:
    """`out` is what to write, piece by piece; `acked` has the places, from 0, of the messages
    that the broker has."""

    END = b"\xe0\0"

    def __init__(self, options: "Options") -> None:
        self.out = [connect_packet(options)]
        self.acked: list[int] = []
        self.accepted = False
        self._count = 0
        self._head = bytearray(6)
        self._have = 0
        self._skip = 0

    def add(self, topic: str, payload: bytes) -> None:
        """Append a QoS 1 publish; the first has place 0, and travels with CONNECT (3.1.4)."""
        self._count += 1
        pid = bytes([self._count >> 8, self._count & 255])
        publish = packet(0x32, text(topic.encode()) + pid + payload)
        if self._count == 1:
            self.out[0] += publish
        else:
            self.out.append(publish)

    def done(self) -> bool:
        return len(self.acked) == self._count

    def feed(self, buf: bytearray, count: int) -> None:
        """`count` bytes came. PeerError: this conversation is over."""
        head = self._head
        for i in range(count):
            if self._skip:
                self._skip -= 1
                continue
            head[self._have] = buf[i]
            self._have = have = self._have + 1
            if have == 4 and head[1] == 2:
                self._have = 0
                self._answer(head[0], (head[2] << 8 | head[3]))
            elif have > 1 and head[1] != 2 and (head[have - 1] < 128 or have == 5):
                self._have = 0
                self._other(have)

    def _answer(self, kind: int, value: int) -> None:
        """A packet with a body of two bytes: CONNACK (3.2), PUBACK (3.4)."""
        if not self.accepted:
            if kind != 0x20 or value & 255:
                self._fail("refused" if kind == 0x20 else "order")
            self.accepted = True
        elif kind == 0x40 and 0 < value <= self._count and value - 1 not in self.acked:
            self.acked.append(value - 1)

    def _other(self, have: int) -> None:
        """What an older session still had for us: it will come again to one that listens."""
        if not self.accepted or self._head[have - 1] > 127:
            self._fail("malformed")
        for k in range(1, have):
            self._skip |= (self._head[k] & 127) << 7 * (k - 1)

    def _fail(self, code: str) -> None:
        from node.core.errors import PeerError  # seldom: costs 2 kB of heap

        raise PeerError(code)
