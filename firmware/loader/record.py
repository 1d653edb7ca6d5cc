"""The boot record and the other small files the loader keeps, each replaced whole or not at all.

Invariants: a file is written beside the old one and renamed over it (littlefs makes the rename
atomic), never removed first; a record that does not read back as it was written is replaced by
the defaults, which boot whatever verifies. One write of the record carries one decision: a
confirmation moves slot, floor and trial in the same rename.
"""

import os

from loader import cbor, layout


def read(path: str) -> bytes:
    """The file's bytes; of one that is too large a few too many; of one that is missing none."""
    try:
        with open(path, "rb") as f:
            # read(n) takes n bytes of heap first: ask for no more than there are
            return f.read(min(os.stat(path)[6], layout.MAX_DOCUMENT_BYTES + 1))
    except OSError:
        return b""


def write(path: str, data: bytes) -> None:
    """Replace the file, unless it is the same; a cut leaves the old bytes or the new ones."""
    if read(path) != data:
        with open(path + layout.TMP, "wb") as f:
            f.write(data)
        os.rename(path + layout.TMP, path)


def read_map(path: str) -> "layout.Item":
    """The value that write_map stored, or None when there is none or it is damaged."""
    data = read(path)
    try:
        # eight bytes of SHA-256 in front: found damaged, not proven genuine
        cbor.refuse(data[:8] != cbor.sha256(data[8:])[:8], "field")
        return cbor.decode(data[8:])
    except cbor.VerifyError:
        return None


def write_map(path: str, value: "layout.Item") -> None:
    """Store a value so that damage to it is found."""
    body = cbor.encode(value)
    write(path, cbor.sha256(body)[:8] + body)


def load(path: str) -> "layout.Map":
    """The boot record, or what a device starts with."""
    return read_map(path) or dict(confirmed=0, trial=[], floor=[0, 0], failed=[], heads={})  # noqa: C408
