"""An MQTT client session, QoS 0 and 1, that does no I/O. Sections are those of MQTT 3.1.1.

    connect(now)                    begin on a fresh link (again for each new link)
    window.publish(topic, ...)      False when there is no room: try again after an ACKED
    output() -> n, wrote(m)         n bytes wait in `out` from `out_at`; m of them were written
    feed(buf, n), next_event()      bytes in, events out, until NOTHING
    tick(now) -> ms                 keepalive and deadlines; ms until the next of them

Bytes from the peer raise nothing but PeerError, after which the link is to be closed; `window`
survives and is sent again by the next `connect`. Nothing is allocated by publish, output, wrote,
nor by feed and next_event of a PUBACK; with `Options.few` it is the other way round, and nothing
is reserved. What a sensor's plain publishing does not need (incoming publishes, subscriptions:
`inbound`; MQTT 5: `v5`) is loaded when it is first needed.
"""

from micropython import const
from node.core.errors import PeerError
from node.core.mqtt.codec import connect_packet
from node.core.mqtt.reader import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from node.core.mqtt.codec import Options

NOTHING = const(0)
CONNECTED = const(1)
ACKED = const(2)  # `window.token`; `reason`, 0 unless an MQTT 5 broker refused the message
MESSAGE = const(3)  # `inbound.topic`, `inbound.payload`: until the next call of next_event()
SUBSCRIBED = const(4)  # `reason`: how many filters the broker refused

_CLOSED = const(0)
_OPENING = const(1)
_OPEN = const(2)

_TICKS = const(0x3FFFFFFF)  # the period of time.ticks_ms() on the smallest port
_CONTROL = const(16)  # control packets queued before incoming ones have to wait
_IDLE_MS = const(60000)
_PROGRESS = const(1024)
_SHORT = const(16)  # all acknowledgements


class Session:
    """One client session; it outlives links. The counters are plain attributes.

    No class on the hot path has a property: MicroPython then searches the class at each store.
    """

    # What few sessions change takes no room in each.
    inbound: "Any" = None
    v5: "Any" = None
    strays = 0
    _ping_have = 0

    def __init__(self, options: "Options") -> None:
        self.options = options
        self.state = _CLOSED
        # Only the one that is used is loaded. `few` knows no properties: MQTT 5 takes the other.
        if options.few and options.version != 5:
            from node.core.mqtt.few import Few

            window: Any = Few
        else:
            from node.core.mqtt.window import Window

            window = Window
        self.window = window(options.window, options.window_bytes)
        bound = options.max_packet
        self.reader = Reader(bound, _SHORT if options.few else bound)
        self.control: list[bytes | bytearray] = []
        self.reason = 0
        self.present = False  # the broker had kept our session
        self.owing = False  # the application is looking at a message
        self.pipeline = 65535  # publishes that may follow CONNECT at once (3.1.4)
        self.resent = 0
        self.out: bytearray | bytes = b""
        self.out_at = self.out_left = 0
        self._begun = False  # some of `out` was written
        # Call next_event() again. If that was NOTHING, because replies wait: write them first.
        self.more = False
        self._in: bytearray = self.reader.body
        self._at = self._end = 0
        self._rx = self._tx = False  # since the last tick
        self._ping_ms = 0  # the other times: connect()
        self._pinging = self._heard = False  # a ping is out; a whole packet came
        self.keepalive_ms = options.keepalive_s * 1000
        if options.version == 5:
            from node.core.mqtt.v5 import V5

            self.v5 = V5()

    def connect(self, now: int) -> None:
        """Begin on a fresh link: CONNECT, then all that is unacknowledged."""
        self.closed()
        self._at = self._end = 0
        self.more = False
        self.reader.reset()
        self.state = _OPENING
        self._rx_ms = self._tx_ms = self._moved_ms = now
        self._rx = self._tx = self._pinging = False
        if self.v5 is not None:
            self.control.append(self.v5.connect(self))
        else:
            self.control.append(connect_packet(self.options))

    def closed(self) -> None:
        """The link is gone. What was not acknowledged waits for the next `connect`."""
        refused = self.state == _OPENING and self._begun  # CONNECT was sent, in vain
        if refused and self.v5 is not None and not self.v5.accepted:
            from node.core.mqtt.v5 import fall_back

            fall_back(self)
        self.state = _CLOSED
        self.resent += self.window.rewind(self._begun)
        self.window.open = self._begun = False
        self.out_left = 0
        self.control.clear()
        self.out = self.window.arena  # and no stray bytes in the middle of the heap
        if self.inbound is not None:
            self.inbound.reset()

    def disconnect(self) -> None:
        """3.14: a clean end; the broker forgets the will."""
        if self.state != _CLOSED:
            self.control.append(b"\xe0\0")

    def output(self) -> int:
        """How many bytes wait to be written, in `out` from `out_at`."""
        if self.out_left:
            return self.out_left
        if self.control:
            self._take_control()
        elif self.state == _OPEN:
            window = self.window
            if window.sent < window.count or window.loose:
                self.out_left = window.take()
                self.out = window.arena
                self.out_at = window.at
                self._begun = False
        return self.out_left

    def wrote(self, count: int) -> None:
        left = self.out_left - count
        self.out_left = left
        self._tx = self._begun = True
        if left:
            self.out_at += count
            return
        window = self.window
        if window.taking:
            window.sent += window.taking
            window.taking = 0
        elif self.out is window.arena:
            window.loose = 0

    def feed(self, buf: bytearray, count: int) -> None:
        """The first `count` bytes of `buf` came from the peer. They must stay as they are until
        next_event() has returned NOTHING."""
        self._in = buf
        self._at = 0
        self._end = count
        self._rx = True

    def next_event(self) -> int:
        at = self._at
        end = self._end
        buf = self._in
        reader = self.reader
        if self.owing:
            self.inbound.settle(self)
        if self.state == _OPEN and not reader.busy:
            # The common packet, a PUBACK in one piece, takes no detour.
            while end - at > 3 and buf[at] == 0x40 and buf[at + 1] == 2:
                self._at = at + 4
                if self.window.acked(buf[at + 2] << 8 | buf[at + 3]):
                    self.reason = 0
                    self.more = end - at > 4
                    return ACKED
                self.strays += 1
                at += 4
        if at < end:
            return self._next(buf, at, end)
        self.more = False
        return NOTHING

    def _next(self, buf: bytearray, at: int, end: int) -> int:
        reader = self.reader
        while at < end and len(self.control) < _CONTROL:
            self._at = at = reader.take(buf, at, end)
            if reader.ready:
                event = self._packet()
                if event:
                    self.more = True
                    return event
        self.more = at < end
        return NOTHING

    def tick(self, now: int) -> int:
        """Keepalive and deadlines; `now` is time.ticks_ms(). Call it every second or so. Returns
        ms to the next deadline; a peer that lets one pass is a PeerError."""
        if self._rx:
            self._rx = False
            self._rx_ms = now
        if self._tx:
            self._tx = False
            self._tx_ms = now
        if not self.out_left:
            self.out = b""  # what was written need not stay
        if self.window.moved:
            self.window.moved = False
            self._heard = True
            self._moved_ms = now
        options = self.options
        if self.state == _OPENING:
            return self._left(now, self._moved_ms, options.connack_timeout_ms, "no_connack")
        left = _IDLE_MS
        if self.state == _OPEN:
            if self.window.count:
                left = self._left(now, self._moved_ms, options.ack_timeout_ms, "no_puback")
            if self.inbound is not None and self.inbound.waiting:
                self._left(now, self.inbound.asked_ms(now), options.ack_timeout_ms, "no_suback")
            if self.keepalive_ms:
                left = min(left, self._keep_alive(now))
        return left

    def acked(self, pid: int, reason: int) -> bool:
        if self.window.acked(pid):
            self.reason = reason
            return True
        self.strays += 1  # late, twice, or never ours: 4.3.2 gives no reason to hang up
        return False

    def _left(self, now: int, since_ms: int, allowed_ms: int, code: str) -> int:
        left = allowed_ms - ((now - since_ms) & _TICKS)
        if left <= 0:
            raise PeerError(code)
        return left

    def _keep_alive(self, now: int) -> int:
        """3.1.2.10. A ping after 3/4 of the interval in silence, in either direction, and half
        an interval for its answer: a half-open link is noticed within 1.25 intervals."""
        if self._pinging:
            # A long packet, or many, may be in its way. Single bytes are no sign of life: they
            # may be PINGRESPs, swallowed by a packet that claims to be long.
            if self._heard or self.reader.have - self._ping_have > _PROGRESS:
                self._heard = False
                self._ping_ms = now
                self._ping_have = self.reader.have
            return self._left(now, self._ping_ms, self.keepalive_ms // 2, "no_pingresp")
        quiet = max((now - self._rx_ms) & _TICKS, (now - self._tx_ms) & _TICKS)
        left = self.keepalive_ms * 3 // 4 - quiet
        if left > 0:
            return left
        self.control.append(b"\xc0\0")
        self._pinging = True
        self._heard = False
        self._ping_ms = now
        self._ping_have = self.reader.have
        return self.keepalive_ms // 2

    def _take_control(self) -> None:
        self.out = self.control.pop(0)
        self.out_at = 0
        window = self.window
        if self.state == _OPENING and self.pipeline:
            # 3.1.4 allows publishing before CONNACK; it saves a waking device one round trip.
            left = window.take(self.pipeline)
            self.out += memoryview(window.arena)[window.at : window.at + left]
            self.pipeline -= window.taking
        self.out_left = len(self.out)
        self._begun = False

    def _packet(self) -> int:
        """One packet that is not a plain PUBACK is in `reader`."""
        reader = self.reader
        head = reader.head
        kind = head >> 4
        self._heard = True
        if kind == 2 and self.state == _OPENING:
            return self._connack()
        if self.state != _OPEN:
            raise PeerError("order", kind)  # 3.2: CONNACK comes first, and once
        if kind == 3 or kind == 9 or kind == 11 or head == 0x62:
            return int(self.need_inbound().packet(self))
        if head == 0xD0 and not reader.size:
            self._pinging = False
            return NOTHING
        if head == 0x40 and reader.size == 2:
            body = reader.body
            return ACKED if self.acked(body[0] << 8 | body[1], 0) else NOTHING
        if self.v5 is not None:
            return int(self.v5.packet(self))
        raise PeerError("malformed", head)  # 2.2.2: reserved flags and types

    def need_inbound(self) -> "Any":
        if self.inbound is None:
            from node.core.mqtt.inbound import Inbound

            self.inbound = Inbound()
        return self.inbound

    def _connack(self) -> int:
        reader = self.reader
        if self.v5 is not None:
            self.v5.connack(self)
        elif reader.head != 0x20 or reader.size != 2 or reader.body[0] > 1:
            raise PeerError("malformed", reader.head)
        elif reader.body[1]:
            raise PeerError("refused", reader.body[1])  # 3.2.2.3
        self.present = reader.body[0] == 1
        self.state = _OPEN
        self.pipeline = 65535
        self.window.open = self.window.moved = True
        return CONNECTED
