"""What MQTT 5 adds: properties, reason codes, the server's limits. Loaded only when asked for.

Sections are those of the MQTT 5.0 standard. A broker that knows only 3.1.1 answers CONNECT with
a 3.1.1 CONNACK (code 1) or hangs up: `fall_back` makes the session a 3.1.1 one, rewriting what
is in the window.
"""

from micropython import const
from node.core.errors import PeerError
from node.core.mqtt.codec import connect_packet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from node.core.mqtt.session import Session

_SERVER_KEEPALIVE = const(0x13)
_RECEIVE_MAXIMUM = const(0x21)
_MAXIMUM_QOS = const(0x24)
_MAXIMUM_PACKET = const(0x27)

# Table 2-4: properties by the type of their value.
_BYTES = b"\x01\x17\x19\x24\x25\x28\x29\x2a"
_SHORTS = b"\x13\x21\x22\x23"
_LONGS = b"\x02\x11\x18\x27"
_TEXTS = b"\x03\x08\x09\x12\x15\x16\x1a\x1c\x1f"
_PAIRS = b"\x26"
_VARINTS = b"\x0b"

# Reasons for which the same publish may succeed later: it stays in the window.
_RETRY = (0x80, 0x83, 0x97)


class V5:
    """The MQTT 5 half of a session."""

    def __init__(self) -> None:
        self.accepted = False  # a broker has taken MQTT 5
        self.rejected = 0  # publishes refused for good

    def connect(self, session: "Session") -> bytearray:
        """3.1. Publishes wait for the first CONNACK: only then is their format certain."""
        options = session.options
        if not self.accepted:
            session.pipeline = 0
        expiry_s = options.message_expiry_s
        session.window.tail = b"\x05\x02" + _long(expiry_s) if expiry_s else b"\0"
        properties = b"\x27" + _long(options.max_packet)
        if not options.clean:
            properties += b"\x11" + _long(options.session_expiry_s)
        properties = bytes([len(properties)]) + properties
        return connect_packet(options, 5, properties, b"\0")

    def connack(self, session: "Session") -> None:
        """3.2."""
        reader = session.reader
        body = reader.body
        if reader.head != 0x20 or not reader.whole() or reader.size < 2 or body[0] > 1:
            raise PeerError("malformed", reader.head)
        if reader.size == 2 and body[1] == 1 or body[1] == 0x84:
            raise PeerError("version")
        if reader.size == 2 or body[1]:
            raise PeerError("refused", body[1])
        at = self.skip(session, 2)
        self._limits(session, memoryview(body), _varint_end(body, 2), at)
        self.accepted = True

    def _limits(self, session: "Session", body: memoryview, at: int, end: int) -> None:
        """3.2.2.3: what the server asks of us."""
        options = session.options
        window = session.window
        window.limit = options.window
        window.longest = 268435455
        session.keepalive_ms = options.keepalive_s * 1000
        while at < end:
            kind = body[at]
            value = at + 1
            at = _property_end(body, at, end)
            if kind == _RECEIVE_MAXIMUM:
                window.limit = max(1, min(options.window, body[value] << 8 | body[value + 1]))
            elif kind == _MAXIMUM_PACKET:
                window.longest = _number(body, value)
            elif kind == _SERVER_KEEPALIVE:
                session.keepalive_ms = (body[value] << 8 | body[value + 1]) * 1000
            elif kind == _MAXIMUM_QOS and body[value] == 0:
                raise PeerError("qos")

    def packet(self, session: "Session") -> int:
        """A packet that 3.1.1 does not know in this form."""
        reader = session.reader
        body = reader.body
        if reader.head == 0x40 and reader.size > 2:
            pid = body[0] << 8 | body[1]
            reason = body[2]
            if reason in _RETRY:
                raise PeerError("quota", reason)
            if reason >= 0x80:
                self.rejected += 1
            return 2 if session.acked(pid, reason) else 0
        if reader.head == 0xE0:
            raise PeerError("disconnected", body[0] if reader.size else 0)  # 3.14
        raise PeerError("malformed", reader.head)

    def skip(self, session: "Session", at: int) -> int:
        """The position behind the properties that begin at `at` of the reader's body."""
        body = session.reader.body
        size = shift = 0
        limit = min(session.reader.size, len(body))
        while True:
            if at >= limit or shift > 21:
                raise PeerError("malformed", 5)
            byte = body[at]
            at += 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if at + size > limit:
            raise PeerError("malformed", 5)
        return at + size


def fall_back(session: "Session") -> None:
    """Make this a 3.1.1 session; take the properties out of the publishes in the window."""
    window = session.window
    gap = len(window.tail)
    for k in range(window.count):
        at, size = window.span(k)
        window.shrink(k, _shorter(bytes(window.arena[at : at + size]), gap))
    window.tail = b""
    window.limit = session.options.window
    window.longest = 268435455
    session.keepalive_ms = session.options.keepalive_s * 1000
    session.pipeline = 65535
    session.v5 = None


def _shorter(publish: bytes, gap: int) -> bytes:
    """The same PUBLISH without its `gap` bytes of properties. Its remaining length keeps its own
    length: one that falls below 128 stays in two bytes, which 2.2.3 of 3.1.1 allows."""
    head = 2 if publish[1] < 128 else 3
    at = head + 4 + (publish[head] << 8 | publish[head + 1])  # behind topic and packet id
    size = len(publish) - head - gap
    length = bytes([size]) if head == 2 else bytes([size & 127 | 128, size >> 7])
    return publish[:1] + length + publish[head:at] + publish[at + gap :]


def _long(value: int) -> bytes:
    return bytes([value >> 24 & 255, value >> 16 & 255, value >> 8 & 255, value & 255])


def _number(body: memoryview, at: int) -> int:
    return body[at] << 24 | body[at + 1] << 16 | body[at + 2] << 8 | body[at + 3]


def _varint_end(body: bytearray | memoryview, at: int) -> int:
    while body[at] >= 128:
        at += 1
    return at + 1


def _property_end(body: memoryview, at: int, end: int) -> int:
    """2.2.2.2: the position behind the property at `at`."""
    kind = body[at]
    at += 1
    if kind in _BYTES:
        at += 1
    elif kind in _SHORTS:
        at += 2
    elif kind in _LONGS:
        at += 4
    elif kind in _VARINTS:
        at = _varint_end(body, at)
    elif kind in _TEXTS or kind in _PAIRS:
        for _ in range(2 if kind in _PAIRS else 1):
            if at + 2 > end:
                break
            at += 2 + (body[at] << 8 | body[at + 1])
    else:
        raise PeerError("malformed", kind)
    if at > end:
        raise PeerError("malformed", kind)
    return at
