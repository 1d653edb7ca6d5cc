"""The boot record and the other small files the loader keeps, each replaced as a whole or not at all.

Invariants: a file is written beside the old one and renamed over it (littlefs makes the rename atomic), never removed
first; a record that does not read back as it was written is replaced by the defaults, which boot whatever verifies.
One write of the record carries one decision: a confirmation moves slot, floor and trial in the same rename.
"""

import hashlib
import os

from loader import cbor, layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CHECK_BYTES = 8  # of SHA-256 in front of the map: found broken, not proven genuine


def read(path: str, limit: int = layout.MAX_DOCUMENT_BYTES) -> bytes:
    """The file's bytes, at most `limit` + 1 of them; empty when there is no such file."""
    try:
        with open(path, "rb") as f:
            return f.read(limit + 1)
    except OSError:
        return b""


def write(path: str, data: bytes) -> None:
    """Replace the file: whatever is cut, the old bytes or the new ones are there."""
    with open(path + layout.TMP, "wb") as f:
        f.write(data)
    os.rename(path + layout.TMP, path)


def read_map(path: str) -> "Any":
    """The value that write_map stored, or None when there is none or it is damaged."""
    data = read(path)
    if len(data) > layout.MAX_DOCUMENT_BYTES or data[:_CHECK_BYTES] != _check(data[_CHECK_BYTES:]):
        return None
    try:
        return cbor.decode(data[_CHECK_BYTES:])
    except cbor.VerifyError:
        return None


def write_map(path: str, value: "Any") -> None:
    body = cbor.encode(value)
    write(path, _check(body) + body)


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECK_BYTES]


class Record:
    """RECORD_FIELDS in memory, and in `path`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.data = {"confirmed": 0, "trial": [], "floor": [0, 0], "failed": [], "heads": {}}  # type: dict[str, Any]
        stored = read_map(path)
        try:
            self.data.update(cbor.check(stored, layout.RECORD_FIELDS))
            self.fresh = False
        except cbor.VerifyError:
            self.fresh = True  # first boot, or damaged
        self.saved = cbor.encode(stored)

    def save(self) -> None:
        """Write the record if it has changed since it was read or written."""
        encoded = cbor.encode(self.data)
        if encoded != self.saved:
            write_map(self.path, self.data)
            self.saved = encoded

    def begin_trial(self, slot: int, digest: bytes, version: str) -> None:
        self.data["trial"] = [slot, digest, version, 0, 0]

    def end_trial(self, failed: bool) -> None:
        """Forget the trial; `failed` remembers the release, so that it is not tried again."""
        digest = self.data["trial"][1]
        if failed and digest not in self.data["failed"]:
            self.data["failed"] = (self.data["failed"] + [digest])[-layout.MAX_FAILED :]
        self.data["trial"] = []

    def confirm(self, slot: int, floor: "list[int]") -> None:
        """`slot` is healthy: it is the one to boot, and nothing older than `floor` comes after it."""
        self.data["confirmed"] = slot
        self.data["floor"] = max(self.data["floor"], floor)
        self.data["trial"] = []

    def seen(self, name: str) -> "list[int]":
        """[era, sequence] of the last head accepted under this name."""
        return self.data["heads"].get(name) or [0, -1]

    def advance(self, name: str, era: int, sequence: int) -> None:
        heads = self.data["heads"]
        if name not in heads and len(heads) >= layout.MAX_HEADS:
            # none is forgotten: that would let an old head of it back in
            raise cbor.VerifyError("head-names")
        heads[name] = [era, sequence]
