"""Bytes of the MQTT packets that are not worth a hot path, and what a session is made of.

Section numbers are those of the MQTT 3.1.1 standard.
"""

from micropython import const

_MAX_TEXT = const(65535)  # 1.5.3: a string's length is two bytes


def packet(first: int, body: bytes, rest: bytes = b"") -> bytearray:
    """2.2: a whole packet. The length takes seven bits a byte, least significant first."""
    made = bytearray([first])
    size = len(body) + len(rest)
    while size > 127:
        made.append(size & 127 | 128)
        size >>= 7
    made.append(size)
    made += body
    made += rest  # grows where it is: what is large is never there twice
    return made


def text(value: bytes) -> bytes:
    """A length-prefixed string or blob."""
    size = len(value)
    if size > _MAX_TEXT:
        from node.core.errors import CallerError  # seldom: costs 2 kB of heap

        raise CallerError("too_long", size)
    return bytes([size >> 8, size & 255]) + value


class Options:
    """What a session is made of: set what differs from the defaults."""

    keepalive_s = 60
    clean = False
    will: "tuple[str, bytes, int, bool] | None" = None  # topic, payload, qos, retain
    username = ""
    password = b""
    window = 8  # unacknowledged QoS 1 publishes
    window_bytes = 2048  # buffer they share
    few = False  # a short conversation: nothing reserved ahead, `few` instead of `window`
    max_packet = 1024  # incoming; longer ones are skipped and counted
    ack_timeout_ms = 20000
    connack_timeout_ms = 15000
    version = 4  # 4 is MQTT 3.1.1; 5 asks for MQTT 5 and falls back
    session_expiry_s = 86400  # MQTT 5
    message_expiry_s = 0  # MQTT 5; 0 is never

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id


def connect_packet(
    options: Options, version: int = 4, properties: bytes = b"", will_properties: bytes = b""
) -> bytearray:
    """3.1. `properties` are empty in 3.1.1; in 5 they begin with their own length."""
    flags = 2 if options.clean else 0
    payload = text(options.client_id.encode())
    if options.will is not None:
        topic, message, qos, retain = options.will
        flags |= 4 | qos << 3 | (32 if retain else 0)
        payload += will_properties + text(topic.encode()) + text(message)
    if options.username:
        flags |= 128
        payload += text(options.username.encode())
        if options.password:
            flags |= 64
            payload += text(options.password)
    keepalive_s = options.keepalive_s
    head = b"\0\4MQTT" + bytes([version, flags, keepalive_s >> 8, keepalive_s & 255])
    return packet(0x10, head + properties + payload)
