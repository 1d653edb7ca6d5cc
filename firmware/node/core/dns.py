"""The little of DNS (RFC 1035) that finds a host's IPv4 address: one question, one answer.

The chip's own resolver blocks for as long as it likes; RP2's longer than its watchdog allows.
"""

from micropython import const
from node.core.errors import CallerError, PeerError

_TYPE_A = const(1)
_CLASS_IN = const(1)
_MAX_RECORDS = const(32)


def query(host: str, ident: int) -> bytes:
    """4.1: a recursive question for the A records of `host`."""
    name = b""
    for label in host.split("."):
        raw = label.encode()
        if not 0 < len(raw) < 64:
            raise CallerError("host", host)
        name += bytes([len(raw)]) + raw
    if len(name) > 254:
        raise CallerError("host", host)
    head = bytes([ident >> 8 & 255, ident & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    return head + name + b"\0\0\1\0\1"


def answer(data: bytes, question: bytes) -> str | None:
    """The first address in a reply to `question`. None: not a reply to it (wait on);
    PeerError("dns", rcode): the server answered that there is none."""
    size = len(question)
    if len(data) < size or data[:2] != question[:2] or not data[2] & 0x80:
        return None
    if data[12:size].lower() != question[12:].lower():  # 7.3: what was asked comes back
        return None
    rcode = data[3] & 15
    if rcode:
        raise PeerError("dns", rcode)
    at = size
    for _ in range(min(_MAX_RECORDS, data[6] << 8 | data[7])):
        at = _past_name(data, at)
        if at + 10 > len(data):
            break
        kind = data[at + 1] | data[at] << 8
        group = data[at + 3] | data[at + 2] << 8
        length = data[at + 9] | data[at + 8] << 8
        at += 10
        if kind == _TYPE_A and group == _CLASS_IN and length == 4 and at + 4 <= len(data):
            return "%d.%d.%d.%d" % (data[at], data[at + 1], data[at + 2], data[at + 3])
        at += length  # an alias (CNAME): its address follows
    raise PeerError("dns", 0)


def _past_name(data: bytes, at: int) -> int:
    """4.1.4: labels, ended by a zero or by a pointer, which need not be followed."""
    while at < len(data):
        size = data[at]
        if size >= 0xC0:
            return at + 2
        at += 1 + size
        if not size:
            return at
    return at
