"""What comes to the client: subscriptions, incoming publishes and their acknowledgements.

Loaded when first needed. QoS 2 is never asked for, but a session made by an older program may
still hold such a message: it is acknowledged by the rules (4.3.3), or it would come for ever.
A publish longer than the reader's bound is acknowledged, counted and not delivered.
"""

from micropython import const
from node.core.errors import CallerError, PeerError
from node.core.mqtt.codec import packet, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from node.core.mqtt.session import Session

_NOTHING = const(0)
_MESSAGE = const(3)
_SUBSCRIBED = const(4)
_QOS2_HELD = const(8)


class Inbound:
    """The incoming half of a session."""

    def __init__(self) -> None:
        self.topic = b""
        self.payload: memoryview | bytes = b""
        self.oversized = 0
        self.waiting: list[int] = []  # packet ids of SUBSCRIBE and UNSUBSCRIBE
        self._counts: list[int] = []  # filters in each
        self._asked_ms = -1
        self._reply = b""  # owed for the message the application is looking at
        self._held: list[int] = []  # QoS 2 ids between PUBLISH and PUBREL

    def reset(self) -> None:
        """A new link: nobody will answer what was asked on the old one."""
        self.waiting.clear()
        self._counts.clear()
        self._reply = self.topic = self.payload = b""
        self._asked_ms = -1

    def resting(self) -> bool:
        """Nothing is asked, owed or half done: this object can be replaced by a new one."""
        return not (self.waiting or self._reply or self._held or self.payload)

    def asked_ms(self, now: int) -> int:
        if self._asked_ms < 0:
            self._asked_ms = now
        return self._asked_ms

    def subscribe(self, session: "Session", filters: list[tuple[str, int]]) -> int:
        """3.8: ask for (filter, highest qos) pairs; returns the packet id."""
        body = b""
        for name, qos in filters:
            if not name or "\0" in name or not 0 <= qos <= 1:
                raise CallerError("filter", name)
            body += text(name.encode()) + bytes([qos])
        return self._ask(session, 0x82, body, len(filters))

    def unsubscribe(self, session: "Session", filters: list[str]) -> int:
        """3.10."""
        body = b""
        for name in filters:
            body += text(name.encode())
        return self._ask(session, 0xA2, body, 0)

    def _ask(self, session: "Session", first: int, body: bytes, count: int) -> int:
        pid: int = session.window.next_pid()
        while pid in self.waiting:
            pid = session.window.next_pid()
        properties = b"" if session.v5 is None else b"\0"
        session.control.append(packet(first, bytes([pid >> 8, pid & 255]) + properties + body))
        self.waiting.append(pid)
        self._counts.append(count)
        self._asked_ms = -1
        return pid

    def settle(self, session: "Session") -> None:
        """The application has seen the last message: now it is acknowledged."""
        session.owing = False
        self.payload = b""
        if self._reply:
            session.control.append(self._reply)
            self._reply = b""

    def packet(self, session: "Session") -> int:
        head = session.reader.head
        kind = head >> 4
        if kind == 3:
            return self._publish(session, head)
        if not session.reader.whole():
            raise PeerError("too_large", kind)
        if head == 0x90 or head == 0xB0:
            return self._answered(session, kind)
        if head == 0x62 and session.reader.size >= 2:
            return self._released(session)
        raise PeerError("malformed", head)

    def _publish(self, session: "Session", head: int) -> int:
        """3.3."""
        reader = session.reader
        body = reader.body
        qos = head >> 1 & 3
        kept = min(reader.size, len(body))
        at = 2 + (body[0] << 8 | body[1]) if kept > 1 else reader.size + 1
        at_payload = at + 2 if qos else at
        if qos == 3 or not qos and head & 8 or at_payload > reader.size or at == 2:
            raise PeerError("malformed", head)
        deliver = at_payload <= kept
        if qos and deliver:
            deliver = self._owe(session, qos, body[at], body[at + 1])
        if not reader.whole():
            self.oversized += 1
            deliver = False
        if not deliver:
            self.settle(session)
            return _NOTHING
        view = memoryview(body)
        self.topic = bytes(view[2:at])
        if session.v5 is not None:
            at_payload = session.v5.skip(session, at_payload)
        self.payload = view[at_payload : reader.size]
        _check_topic(self.topic)
        session.owing = True
        return _MESSAGE

    def _owe(self, session: "Session", qos: int, high: int, low: int) -> bool:
        """Prepare the acknowledgement; False for a QoS 2 message that was delivered before."""
        pid = high << 8 | low
        if not pid:
            raise PeerError("malformed", 0)  # 2.3.1
        self._reply = bytes([0x40 if qos == 1 else 0x50, 2, high, low])
        if qos == 1:
            return True
        if pid in self._held:
            return False
        if len(self._held) >= _QOS2_HELD:
            raise PeerError("qos2")
        self._held.append(pid)
        return True

    def _released(self, session: "Session") -> int:
        """PUBREL: QoS 2's second half, 3.6."""
        body = session.reader.body
        pid = body[0] << 8 | body[1]
        if pid in self._held:
            self._held.remove(pid)
        session.control.append(bytes([0x70, 2, body[0], body[1]]))
        return _NOTHING

    def _answered(self, session: "Session", kind: int) -> int:
        """SUBACK 3.9, UNSUBACK 3.11. One nobody waits for is harmless."""
        reader = session.reader
        body = reader.body
        if reader.size < 2:
            raise PeerError("malformed", kind)
        pid = body[0] << 8 | body[1]
        if pid not in self.waiting:
            session.strays += 1
            return _NOTHING
        i = self.waiting.index(pid)
        self.waiting.pop(i)
        count = self._counts.pop(i)
        at = 2 if session.v5 is None else session.v5.skip(session, 2)
        if kind == 11:
            return _NOTHING
        if reader.size - at != count:
            raise PeerError("malformed", kind)
        session.reason = 0
        for k in range(at, reader.size):
            if body[k] >= 0x80:
                session.reason += 1
        return _SUBSCRIBED


def _check_topic(topic: bytes) -> None:
    """4.7.1: a topic name has no wildcards; 1.5.3: no U+0000."""
    if b"+" in topic or b"#" in topic or b"\0" in topic:
        raise PeerError("malformed", 3)
