"""Bytes of the MQTT packets that are not worth a hot path: CONNECT, SUBSCRIBE, prepared topics.

Section numbers are those of the MQTT 3.1.1 standard.
"""

from micropython import const
from node.core.errors import CallerError

_MAX_TEXT = const(65535)  # 1.5.3: a string's length is two bytes
_MAX_LENGTH = const(16383)  # ours: a remaining length of at most two bytes


def remaining_length(size: int) -> bytes:
    """2.2.3: seven bits a byte, least significant first, in as few bytes as can be."""
    out = bytearray()
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    out.append(size)
    return bytes(out)


def packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + remaining_length(len(body)) + body


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
    options: Options, properties: bytes = b"", will_properties: bytes = b""
) -> bytes:
    """3.1. `properties` are empty in 3.1.1; in 5 they begin with their own length."""
    flags = 2 if options.clean else 0
    payload = text(options.client_id.encode())
    if options.will is not None:
        topic, message, qos, retain = options.will
        flags |= 4 | qos << 3 | (32 if retain else 0)
        payload += will_head + text(topic.encode()) + text(message)
    if options.username is not None:
        flags |= 128
        payload += text(options.username.encode())
        if options.password is not None:
            flags |= 64
            payload += text(options.password)
    keepalive_s = options.keepalive_s
    head = b"\0\4MQTT" + bytes([options.version, flags, keepalive_s >> 8, keepalive_s & 255])
    return packet(0x10, head + properties + payload)


class Topic:
    """A topic name prepared for publishing: `short` and `long` are formats for `struct` that
    write a PUBLISH up to its packet id, with a remaining length of one byte or two."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.length = len(self.name)
        if not 0 < self.length < _MAX_LENGTH or "+" in name or "#" in name or "\0" in name:
            raise CallerError("topic", name)  # 3.3.2.1, 4.7.3
        self.short = ">BBH%dsH" % self.length
        self.long = ">BBBH%dsH" % self.length
        self.size = self.length + 2
