"""The audit log: JSON lines, each carrying the hash of the one before it.

Owns audit.jsonl. Invariants: lines are only ever appended, and are on the disk before `append`
returns; `hash` is SHA-256 over the line's other members in canonical JSON, `prev` the hash of the
line before, so a change, a removal in the middle or a swap is found by `verify`. A cut-off end is
found by comparing `head` with one noted elsewhere (export it daily). A half-written last line (a
power cut; nobody was told it had been kept) is removed, and that is logged.
"""

import datetime
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from outpost.errors import ExitCode, OutpostError

_FIRST = "0" * 64


class AuditLog:
    """One station's log."""

    def __init__(self, path: Path, who: str = "", where: str = "") -> None:
        self.path = path
        self._who = who
        self._where = where

    def append(self, event: str, **members: Any) -> dict[str, Any]:
        """Add a line; `members` must be JSON and must hold no secret."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            last, torn = _end(file)
            if torn:
                note = {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}
                last = self._write(file, last, "torn-line-removed", note)
            return self._write(file, last, event, members)

    def _write(
        self, file: BinaryIO, last: dict[str, Any] | None, event: str, members: dict[str, Any]
    ) -> dict[str, Any]:
        line = {
            **members,
            "event": event,
            "seq": last["seq"] + 1 if last else 1,
            "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            "who": self._who,
            "where": self._where,
            "prev": last["hash"] if last else _FIRST,
        }
        line["hash"] = _hash(line)
        file.write(_canonical(line) + b"\n")
        file.flush()
        os.fsync(file.fileno())
        return line

    def lines(self) -> Iterator[dict[str, Any]]:
        """Every complete line, unchecked."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for raw in file:
                if raw.endswith(b"\n"):
                    yield json.loads(raw)

    def verify(self, head: str | None = None) -> tuple[int, str]:
        """(lines, hash of the last); OutpostError `audit-broken` at the first line that does not
        follow.

        With `head` (noted before), that hash must be one of the chain's: the log has not been cut
        off or rewritten.
        """
        prev, count, heads = _FIRST, 0, {_FIRST}
        if self.path.exists():
            for raw in self.path.read_bytes().split(b"\n")[:-1]:
                count += 1
                prev = _checked(raw, count, prev)
                heads.add(prev)
        if head is not None and head not in heads:
            raise _broken(
                count, f"the log does not contain {head}: its end was removed or it was rewritten"
            )
        return count, prev


def _canonical(line: dict[str, Any]) -> bytes:
    return json.dumps(line, sort_keys=True, separators=(",", ":")).encode()


def _hash(line: dict[str, Any]) -> str:
    return hashlib.sha256(
        _canonical({name: line[name] for name in line if name != "hash"})
    ).hexdigest()


def _checked(raw: bytes, number: int, prev: str) -> str:
    try:
        line = json.loads(raw)
    except ValueError:
        raise _broken(number, "is not JSON") from None
    if not isinstance(line, dict) or line.get("seq") != number:
        raise _broken(number, "is not the next in sequence")
    if line.get("prev") != prev:
        raise _broken(number, "does not follow from the line before it")
    if line.get("hash") != _hash(line):
        raise _broken(number, "was changed")
    return str(line["hash"])


def _broken(number: int, what: str) -> OutpostError:
    fix = "restore the log from its last export, and find out who had access"
    return OutpostError(
        "audit-broken", f"audit line {number}: {what}", fix, ExitCode.VERIFICATION_FAILED
    )


def _end(file: BinaryIO) -> tuple[dict[str, Any] | None, bytes]:
    """(the last complete line, a torn line that was cut away)."""
    file.seek(0)
    content = file.read()
    whole, _, torn = content.rpartition(b"\n")
    if torn:
        os.ftruncate(file.fileno(), len(content) - len(torn))
    last = whole.rpartition(b"\n")[2]
    if not last:
        return None, torn
    try:
        return json.loads(last), torn
    except ValueError:
        raise _broken(whole.count(b"\n") + 1, "is not JSON") from None
