"""Bytes of the MQTT packets that are not worth a hot path: CONNECT, SUBSCRIBE, prepared topics.

Section numbers are those of the MQTT 3.1.1 standard.
"""

from struct import calcsize

from micropython import const
from node.core.errors import CallerError

_MAX_TEXT = const(65535)  # 1.5.3: a string's length is two bytes
_MAX_LENGTH = const(16383)  # ours: a remaining length of at most two bytes
_GRAIN = const(64)


def packet(first: int, body: bytes) -> bytes:
    """2.2: a whole packet. The length takes seven bits a byte, least significant first."""
    head = bytearray([first])
    size = len(body)
    while size > 127:
        head.append(size & 127 | 128)
        size >>= 7
    head.append(size)
    return bytes(head) + body


def text(value: bytes) -> bytes:
    """A length-prefixed string or blob."""
    size = len(value)
    if size > _MAX_TEXT:
        raise CallerError("too_long", size)
    return bytes([size >> 8, size & 255]) + value


class Options:
    """What a session is made of. Plain attributes: set what differs from the default."""

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        self.keepalive_s = 60
        self.clean = False
        self.will: tuple[str, bytes, int, bool] | None = None  # topic, payload, qos, retain
        self.username: str | None = None
        self.password: bytes | None = None
        self.window = 8  # unacknowledged QoS 1 publishes
        self.window_bytes = 2048  # buffer they share
        self.max_packet = 1024  # incoming; longer ones are skipped and counted
        self.ack_timeout_ms = 20000
        self.connack_timeout_ms = 15000
        self.version = 4  # 4 is MQTT 3.1.1; 5 asks for MQTT 5 and falls back
        self.session_expiry_s = 86400  # MQTT 5
        self.message_expiry_s = 0  # MQTT 5; 0 is never


def connect_packet(
    options: Options, version: int = 4, properties: bytes = b"", will_properties: bytes = b""
) -> bytes:
    """3.1. `properties` are empty in 3.1.1; in 5 they begin with their own length."""
    flags = 2 if options.clean else 0
    payload = text(options.client_id.encode())
    if options.will is not None:
        topic, message, qos, retain = options.will
        flags |= 4 | qos << 3 | (32 if retain else 0)
        payload += will_properties + text(topic.encode()) + text(message)
    if options.username is not None:
        flags |= 128
        payload += text(options.username.encode())
        if options.password is not None:
            flags |= 64
            payload += text(options.password)
    keepalive_s = options.keepalive_s
    head = b"\0\4MQTT" + bytes([version, flags, keepalive_s >> 8, keepalive_s & 255])
    return packet(0x10, head + properties + payload)


class Topic:
    """A topic name prepared for publishing.

    `form` makes struct.pack_into write a whole PUBLISH (3.3) from `head`, the packet id (QoS 1
    only) and the payload. The payload is padded with zeros to a multiple of 64, so that a few
    formats, kept once made, serve all lengths.
    """

    def __init__(self, name: str) -> None:
        raw = name.encode()
        self._length = len(raw)
        if not 0 < len(raw) < _MAX_LENGTH or "+" in name or "#" in name or "\0" in name:
            raise CallerError("topic", name)  # 3.3.2.1, 4.7.3
        self._short = bytearray(b"\0\0" + text(raw))
        self._long = bytearray(b"\0\0\0" + text(raw))
        self._forms: dict[int, str] = {}
        self.size = -1  # of the payload this is prepared for
        self.first = 0  # and the first byte
        self.head = self._short
        self.form = ""
        self.need = 0  # bytes, with padding
        self.total = 0  # bytes, without

    def prepare(self, size: int, first: int, gap: int) -> None:
        """For payloads of `size`, `gap` zero bytes (MQTT 5's properties) before them."""
        length = self._length + size + gap + (4 if first & 2 else 2)
        if length > _MAX_LENGTH:
            raise CallerError("too_large", size)
        if length < 128:
            head = self._short
            head[1] = length
        else:
            head = self._long
            head[1] = length & 127 | 128
            head[2] = length >> 7
        head[0] = first
        grains = (size + _GRAIN - 1) // _GRAIN
        key = grains << 10 | gap << 2 | (len(head) & 1) << 1 | first >> 1 & 1
        if key not in self._forms:
            pid = "H" if first & 2 else ""
            pad = "%dx" % gap if gap else ""
            self._forms[key] = ">%ds%s%s%ds" % (len(head), pid, pad, grains * _GRAIN)
        self.head = head
        self.form = self._forms[key]
        self.need = calcsize(self.form)
        self.total = length + (2 if length < 128 else 3)
        self.size = size
        self.first = first
