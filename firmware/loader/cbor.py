"""Deterministic CBOR (RFC 8949 section 4.2.1): integers, byte and text strings, arrays, maps, booleans and null.

Owns the only CBOR decoder of the device. Invariants: one value has one encoding, so anything else is refused
(not minimal, indefinite, unsorted, duplicate, trailing); no length is believed before it is compared with the bytes
that are left; depth and number of items are bounded, so a hostile document costs bounded stack and heap.
Floats and tags are left out on purpose: scale to integers; COSE's one tag is stripped by `trust`.
"""

from loader import layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class VerifyError(Exception):
    """Bytes that must not be used. `code` is one of layout's reasons; `detail` is for people."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class _Reader:
    def __init__(self, data: "Any", view: bool) -> None:
        self.data = memoryview(data)
        self.pos = 0
        self.items = layout.MAX_ITEMS
        self.view = view  # byte strings as views of `data` instead of copies

    def take(self, size: int) -> memoryview:
        start = self.pos
        if size > len(self.data) - start:
            raise VerifyError("cbor-short")
        self.pos = start + size
        return self.data[start : start + size]

    def head(self) -> "tuple[int, int]":
        """The major type and the argument of the next item (RFC 8949 section 3)."""
        first = self.take(1)[0]
        value = first & 31
        if value > 27:
            raise VerifyError("cbor-form")
        if value > 23:
            size = 1 << (value - 24)
            value = int.from_bytes(self.take(size), "big")
            # shortest form: 1 byte holds 24.., 2 hold 256.., 4 hold 65536.., 8 hold 2**32..
            if value < 24 or (size > 1 and value >> (4 * size) == 0):
                raise VerifyError("cbor-minimal")
        return first >> 5, value

    def item(self, depth: int) -> "Any":
        self.items -= 1
        if depth == 0 or self.items < 0:
            raise VerifyError("cbor-limit")
        major, value = self.head()
        if major == 0:
            return value
        if major == 1:
            return -1 - value
        if major == 2:
            part = self.take(value)
            return part if self.view else bytes(part)
        if major == 3:
            try:
                return str(self.take(value), "utf-8")
            except UnicodeError:
                raise VerifyError("cbor-text")
        if major == 7 and 20 <= value <= 22:
            return (False, True, None)[value - 20]
        if major > 5:
            raise VerifyError("cbor-form")
        if value > len(self.data) - self.pos:  # an item is at least a byte
            raise VerifyError("cbor-short")
        if major == 4:
            return [self.item(depth - 1) for _ in range(value)]
        return self.map(value, depth - 1)

    def map(self, count: int, depth: int) -> "dict[Any, Any]":
        result = {}
        last = b""
        for _ in range(count):
            start = self.pos
            key = self.item(depth)
            raw = bytes(self.data[start : self.pos])
            if type(key) not in (int, str, bytes):
                raise VerifyError("cbor-form")
            if raw <= last:
                raise VerifyError("cbor-order")
            last = raw
            result[key] = self.item(depth)
        return result


def decode(data: "bytes | bytearray | memoryview", view: bool = False) -> "Any":
    """The value encoded in `data`, all of it; VerifyError when there is any other way to read it."""
    reader = _Reader(data, view)
    value = reader.item(layout.MAX_DEPTH)
    if reader.pos != len(reader.data):
        raise VerifyError("cbor-trailing")
    return value


def check(value: "Any", fields: "tuple[tuple[str, type], ...]") -> "dict[str, Any]":
    """`value` itself, once it is a map with the listed fields, each of exactly the listed type."""
    if type(value) is not dict:
        raise VerifyError("field", "not a map")
    for name, kind in fields:
        if type(value.get(name)) is not kind:
            raise VerifyError("field", name)
    return value


def prefix(major: int, value: int) -> bytes:
    """The head of an item: its type and, in the shortest form, its length or value."""
    if value < 24:
        return bytes((major << 5 | value,))
    size = 1
    info = 24
    while value >> (8 * size):
        size *= 2
        info += 1
    return bytes((major << 5 | info,)) + value.to_bytes(size, "big")


def _put(out: bytearray, value: "Any") -> None:
    if value is None or value is True or value is False:
        out.append(0xF6 if value is None else 0xF5 if value else 0xF4)
    elif isinstance(value, int):
        out.extend(prefix(0, value) if value >= 0 else prefix(1, -1 - value))
    elif isinstance(value, str):
        text = value.encode()
        out.extend(prefix(3, len(text)))
        out.extend(text)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        out.extend(prefix(2, len(value)))
        out.extend(value)
    elif isinstance(value, (list, tuple)):
        out.extend(prefix(4, len(value)))
        for item in value:
            _put(out, item)
    elif isinstance(value, dict):
        out.extend(prefix(5, len(value)))
        for raw, key in sorted([(encode(key), key) for key in value]):
            out.extend(raw)
            _put(out, value[key])
    else:
        raise TypeError("cbor")


def encode(value: "Any") -> bytes:
    """The one deterministic encoding of `value`. TypeError for a type that is not listed above."""
    out = bytearray()
    _put(out, value)
    return bytes(out)
