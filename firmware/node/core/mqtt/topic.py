"""A topic name prepared for publishing: all that is the same from one message to the next."""

from struct import calcsize

from micropython import const
from node.core.errors import CallerError
from node.core.mqtt.codec import text

_MAX_LENGTH = const(16383)  # ours: a remaining length of at most two bytes
_GRAIN = const(64)


class Topic:
    """`form` makes struct.pack_into write a whole PUBLISH (3.3) from `head`, the packet id (QoS 1
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
