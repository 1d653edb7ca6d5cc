"""Deterministic CBOR (RFC 8949 section 4.2.1): integers, strings, arrays, maps, booleans, null.

Owns the only CBOR decoder of the device. Invariants: one value has one encoding, so anything else
is refused (not minimal, indefinite, unsorted, duplicate, trailing); no length is believed before
it is compared with the bytes that are left; depth and number of items are bounded, so a hostile
document costs bounded stack and heap. Floats and tags are left out on purpose: scale to integers;
COSE's one tag is stripped by `trust`.
"""

import hashlib

from micropython import const

from loader import layout

_MAX_ITEMS = const(1024)  # CBOR items in one document
_MAX_DEPTH = const(6)  # nesting of CBOR items


class VerifyError(Exception):
    """Bytes that must not be used. `code` is a reason of layout's; `detail` is for people."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


def sha256(data: "layout.Buffer") -> bytes:
    """SHA-256 in one go."""
    return hashlib.sha256(data).digest()


def refuse(wrong: object, code: str, detail: str = "") -> None:
    """Raise VerifyError if something is wrong."""
    if wrong:
        raise VerifyError(code, detail)


class _Reader:
    def __init__(self, data: "layout.Buffer", view: bool) -> None:
        self.data = memoryview(data)
        self.at = 0
        self.items = _MAX_ITEMS
        self.view = view  # byte strings as views of `data` instead of copies

    def take(self, size: int) -> memoryview:
        self.at += size
        refuse(self.at > len(self.data), "cbor-short")
        return self.data[self.at - size : self.at]

    def item(self, depth: int) -> "layout.Item":
        self.items -= 1
        refuse(depth == 0 or self.items < 0, "cbor-limit")
        refuse(self.at >= len(self.data), "cbor-short")
        # the head: major type and argument (RFC 8949 section 3)
        major, value = self.data[self.at] >> 5, self.data[self.at] & 31
        self.at += 1
        if value > 23:
            refuse(value > 27, "cbor-form")
            size = 1 << (value - 24)
            value = int.from_bytes(self.take(size), "big")
            # shortest form: 1 byte holds 24.., 2 hold 256.., 4 hold 65536.., 8 hold 2**32..
            refuse(value < 24 or value >> (4 * size) == 0, "cbor-minimal")
        if major < 2:
            return -1 - value if major else value
        if major == 2:
            return self.take(value) if self.view else bytes(self.take(value))
        if major == 3:
            try:
                return str(self.take(value), "utf-8")
            except UnicodeError:
                raise VerifyError("cbor-text")
        if major > 5:
            refuse(major == 6 or not 20 <= value <= 22, "cbor-form")
            return (False, True, None)[value - 20]
        refuse(value > len(self.data) - self.at, "cbor-short")  # an item is at least a byte
        if major == 4:
            return [self.item(depth - 1) for _ in range(value)]
        return self.map(value, depth - 1)

    def map(self, count: int, depth: int) -> "layout.Map":
        result = {}
        last = b""
        for _ in range(count):
            start = self.at
            key = self.item(depth)
            raw = bytes(self.data[start : self.at])
            refuse(type(key) not in (int, str, bytes), "cbor-form")
            refuse(raw <= last, "cbor-order")
            last = raw
            result[key] = self.item(depth)
        return result


def decode(data: "layout.Buffer", view: bool = False) -> "layout.Item":
    """The value in `data`, all of it; VerifyError when there is any other way to read it."""
    reader = _Reader(data, view)
    value = reader.item(_MAX_DEPTH)
    refuse(reader.at != len(reader.data), "cbor-trailing")
    return value


def kinds(value: object) -> "list[type] | None":
    """The types of a list's items; None when it is no list."""
    return [type(item) for item in value] if isinstance(value, list) else None


def check(value: "layout.Item", fields: str) -> "layout.Map":
    """`value` itself, once it is a map with these fields ("name type ..."), each of that type."""
    refuse(type(value) is not dict, "field", "not a map")
    words = fields.split()
    for name, kind in zip(words[::2], words[1::2]):
        refuse(type(value.get(name)).__name__ != kind, "field", name)
    return value  # type: ignore[no-any-return]


def prefix(major: int, value: int) -> bytes:
    """The head of an item: its type and, in the shortest form, its length or value."""
    if value < 24:
        return bytes((major << 5 | value,))
    info = 0
    while value >> (8 << info):
        info += 1
    return bytes((major << 5 | 24 + info,)) + value.to_bytes(1 << info, "big")


def encode(value: "layout.Item") -> bytes:
    """The one deterministic encoding of `value`. TypeError for a type that is not listed above."""
    kind = type(value)
    if kind is bool or value is None:
        return b"\xf6" if value is None else b"\xf5" if value else b"\xf4"
    if kind is int:
        return prefix(1, -1 - value) if value < 0 else prefix(0, value)
    if kind in (str, bytes, bytearray, memoryview):
        raw = value.encode() if kind is str else bytes(value)
        return prefix(3 if kind is str else 2, len(raw)) + raw
    if kind in (list, tuple):
        return prefix(4, len(value)) + b"".join([encode(item) for item in value])
    if kind is dict:
        # no key's encoding is the start of another's, so sorting the pairs sorts the keys
        pairs = sorted([encode(key) + encode(value[key]) for key in value])
        return prefix(5, len(value)) + b"".join(pairs)
    raise TypeError("cbor")
