"""What devices send, as plain Python values: bounded, and free of surprises.

Everything here is fed by strangers.  A payload either becomes a small tree of None, bool, int,
float, str, bytes, list and dict, or `PayloadError` with a stable code; nothing else escapes.
"""

from decimal import Decimal
from io import BytesIO
from typing import Any

import cbor2

MAX_BYTES = 64 * 1024
MAX_NODES = 32_768
MAX_DEPTH = 8


class PayloadError(Exception):
    """Bytes that cannot be read. `code` is stable; `detail` is for people."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


def plain(payload: bytes) -> Any:
    """Decode CBOR (RFC 8949), all of it, into plain values."""
    if len(payload) > MAX_BYTES:
        raise PayloadError("too-large", f"{len(payload)} bytes")
    stream = BytesIO(payload)
    try:
        value = cbor2.CBORDecoder(stream).decode()
    except Exception as error:  # noqa: BLE001 - tags build dates, patterns…: any may object
        raise PayloadError("cbor", f"{type(error).__name__}: {error}"[:200]) from None
    if stream.tell() != len(payload):
        raise PayloadError("cbor-trailing", "bytes follow the item")
    return _Walk().check(value, MAX_DEPTH)


def plain_map(payload: bytes) -> dict[str, Any]:
    """A CBOR map with text keys: what events, state, status and replies are."""
    value = plain(payload)
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise PayloadError("not-a-map", "expected a map with text keys")
    return value


class _Walk:
    """Checks a decoded tree; the budget also ends trees that contain themselves (tag 29)."""

    def __init__(self) -> None:
        self._left = MAX_NODES

    def check(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth < 0:
            raise PayloadError("cbor-limit", "nested too deep or too many items")
        if value is None or type(value) in (bool, int, float, str, bytes):
            return value
        if isinstance(value, list | tuple):
            return [self.check(item, depth - 1) for item in value]
        if isinstance(value, dict):
            return {self._key(key): self.check(item, depth - 1) for key, item in value.items()}
        if isinstance(value, Decimal):  # decimal fraction, as SenML allows (RFC 8428 section 6)
            return float(value)
        raise PayloadError("cbor-type", f"{type(value).__name__} is not expected here")

    def _key(self, key: Any) -> str | int:
        if type(key) not in (str, int):
            raise PayloadError("cbor-type", "a map key is neither text nor integer")
        return key  # type: ignore[no-any-return]


def jsonable(value: Any) -> Any:
    """For storage and display: bytes become hex, integers beyond 64 bits text."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [jsonable(item) for item in value]
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    if isinstance(value, float) and value - value != 0:  # not finite: JSON has no word for it
        return str(value)
    if isinstance(value, str):
        # Lone surrogates cannot be stored as UTF-8.
        return value.encode("utf-8", "replace").decode()
    return value
