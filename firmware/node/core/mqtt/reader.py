"""Splits a byte stream into MQTT packets, whatever the stream's own pieces are.

Owns one buffer, `body`, and its bound: a packet longer than that is consumed to its end, with
only its first `len(body)` bytes kept, and is handed on with `whole` false. Nothing is ever
allocated on the word of a peer, or, where a conversation is short and most likely nothing but
acknowledgements will come, nothing beyond the bound.
"""

from micropython import const

_HEAD = const(0)
_LENGTH = const(1)
_BODY = const(2)


class Reader:
    """`take` until `ready`; then `head`, `size` and `body` describe one packet until the next
    `take`. `busy` is true in the middle of a packet."""

    def __init__(self, bound: int, at_first: int) -> None:
        self._bound = bound
        self.body = bytearray(at_first)
        self.reset()

    def reset(self) -> None:
        self.head = 0
        self.size = 0
        self.have = 0  # bytes of the body seen, kept or not
        self.ready = False
        self.busy = False
        self._shift = 0
        self._stage = _HEAD

    def whole(self) -> bool:
        return self.size <= len(self.body)

    def take(self, buf: bytearray, at: int, end: int) -> int:
        """Consume from `at`; returns the new position: `end`, or just behind a packet."""
        if self.ready:
            self.reset()
        while at < end and self._stage != _BODY:
            self._header(buf[at])
            at += 1
        if self._stage == _BODY:
            at = self._fill(buf, at, end)
            if self.have == self.size:
                self.ready = True
                self.busy = False
        return at

    def _header(self, byte: int) -> None:
        if self._stage == _HEAD:
            self.head = byte
            self.busy = True
            self._stage = _LENGTH
            return
        self.size |= (byte & 127) << self._shift
        if byte < 128:
            self._stage = _BODY
            keep = min(self.size, self._bound)
            if keep > len(self.body):
                self.body = bytearray(keep)
        elif self._shift == 21:
            from node.core.errors import PeerError

            raise PeerError("length")  # 2.2.3: four bytes at most
        self._shift += 7

    def _fill(self, buf: bytearray, at: int, end: int) -> int:
        count = min(self.size - self.have, end - at)
        keep = min(count, len(self.body) - self.have)
        if 0 < keep < 5:  # too short to be worth a slice, which is an allocation
            for i in range(keep):
                self.body[self.have + i] = buf[at + i]
        elif keep > 0:
            self.body[self.have : self.have + keep] = buf[at : at + keep]
        self.have += count
        return at + count
