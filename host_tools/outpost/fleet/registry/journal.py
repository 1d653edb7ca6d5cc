"""What happened: device events, what the broker refused, payloads nobody could read, the audit.

Everything a device or a stranger can cause is bounded, oldest dropped first; the audit is not,
because only operators write it.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from outpost.fleet.registry.database import Database, Row

MAX_EVENTS_PER_DEVICE = 2_000
MAX_SECURITY = 5_000
MAX_REJECTS_PER_DEVICE = 50
MAX_REJECT_BYTES = 4_096
GENESIS = "0" * 64


@dataclass(frozen=True)
class Event:
    """One event of a device; (device, boot, seq, type) arrives once."""

    device: str
    type: str
    body: dict[str, Any]
    boot: int | None = None
    seq: int | None = None
    ts_ms: int | None = None
    received_ms: int = 0
    id: int = 0


@dataclass(frozen=True)
class SecurityEvent:
    """Something was refused; `device` is what the peer claimed to be, as far as known."""

    ts_ms: int
    kind: str
    device: str
    address: str
    detail: str
    id: int = 0


@dataclass(frozen=True)
class Reject:
    """A payload that could not be read, kept for inspection (its first bytes at least)."""

    ts_ms: int
    device: str
    topic: str
    code: str
    detail: str
    payload: bytes
    size: int = 0
    id: int = 0


class Journal:
    def __init__(self, db: Database) -> None:
        self._db = db

    def add_event(self, event: Event) -> bool:
        """False when it was there already."""
        with self._db.write() as db:
            added = db.execute(
                "INSERT OR IGNORE INTO events (device, type, boot, seq, ts_ms, received_ms, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    event.device,
                    event.type,
                    event.boot,
                    event.seq,
                    event.ts_ms,
                    event.received_ms,
                    json.dumps(event.body),
                ),
            ).rowcount
            if added:
                db.execute(
                    "DELETE FROM events WHERE device = ? AND id <= (SELECT id FROM events"
                    " WHERE device = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                    (event.device, event.device, MAX_EVENTS_PER_DEVICE),
                )
        return bool(added)

    def events(
        self, device: str | None = None, type: str | None = None, limit: int = 200
    ) -> list[Event]:
        """Newest first."""
        rows = self._db.all(
            "SELECT * FROM events WHERE (? IS NULL OR device = ?) AND (? IS NULL OR type = ?)"
            " ORDER BY id DESC LIMIT ?",
            (device, device, type, type, limit),
        )
        return [_event(row) for row in rows]

    def add_security(self, event: SecurityEvent) -> None:
        with self._db.write() as db:
            number = db.execute(
                "INSERT INTO security (ts_ms, kind, device, address, detail)"
                " VALUES (?, ?, ?, ?, ?)",
                (event.ts_ms, event.kind, event.device, event.address, event.detail),
            ).lastrowid
            db.execute("DELETE FROM security WHERE id <= ?", ((number or 0) - MAX_SECURITY,))

    def security(
        self, kind: str | None = None, device: str | None = None, limit: int = 200
    ) -> list[SecurityEvent]:
        """Newest first."""
        rows = self._db.all(
            "SELECT * FROM security WHERE (? IS NULL OR kind = ?) AND (? IS NULL OR device = ?)"
            " ORDER BY id DESC LIMIT ?",
            (kind, kind, device, device, limit),
        )
        return [SecurityEvent(**dict(row)) for row in rows]

    def add_reject(self, reject: Reject) -> None:
        kept = reject.payload[:MAX_REJECT_BYTES]
        with self._db.write() as db:
            db.execute(
                "INSERT INTO rejects (ts_ms, device, topic, code, detail, size, payload)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    reject.ts_ms,
                    reject.device,
                    reject.topic,
                    reject.code,
                    reject.detail,
                    len(reject.payload),
                    kept,
                ),
            )
            db.execute(
                "DELETE FROM rejects WHERE device = ? AND id <= (SELECT id FROM rejects"
                " WHERE device = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (reject.device, reject.device, MAX_REJECTS_PER_DEVICE),
            )

    def rejects(self, device: str | None = None, limit: int = 100) -> list[Reject]:
        """Newest first."""
        rows = self._db.all(
            "SELECT * FROM rejects WHERE ? IS NULL OR device = ? ORDER BY id DESC LIMIT ?",
            (device, device, limit),
        )
        return [Reject(**dict(row)) for row in rows]


def _event(row: Row) -> Event:
    return Event(
        row["device"],
        row["type"],
        json.loads(row["body"]),
        row["boot"],
        row["seq"],
        row["ts_ms"],
        row["received_ms"],
        row["id"],
    )


@dataclass(frozen=True)
class AuditLine:
    number: int
    ts_ms: int
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    previous: str
    hash: str


class Audit:
    """Append-only; each line's hash covers the line and the hash before it."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(
        self,
        ts_ms: int,
        actor: str,
        action: str,
        subject: str,
        detail: dict[str, Any] | None = None,
    ) -> AuditLine:
        with self._db.write() as db:
            last = db.execute("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1")
            row = last.fetchone()
            number, previous = (row["number"] + 1, row["hash"]) if row else (1, GENESIS)
            text = json.dumps(detail or {}, sort_keys=True)
            digest = _line_hash(previous, (number, ts_ms, actor, action, subject, text))
            db.execute(
                "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (number, ts_ms, actor, action, subject, text, previous, digest),
            )
        return AuditLine(number, ts_ms, actor, action, subject, detail or {}, previous, digest)

    def lines(self, limit: int = 200) -> list[AuditLine]:
        """Newest first."""
        return [
            AuditLine(**{**dict(row), "detail": json.loads(row["detail"])})
            for row in self._db.all("SELECT * FROM audit ORDER BY number DESC LIMIT ?", (limit,))
        ]

    def verify(self) -> int | None:
        """The number of the first line that does not fit the chain; None when all do."""
        previous = GENESIS
        for count, row in enumerate(self._db.all("SELECT * FROM audit ORDER BY number"), start=1):
            content = tuple(
                row[key] for key in ("number", "ts_ms", "actor", "action", "subject", "detail")
            )
            if (
                row["number"] != count
                or row["previous"] != previous
                or row["hash"] != _line_hash(previous, content)
            ):
                return count
            previous = row["hash"]
        return None


def _line_hash(previous: str, content: tuple[Any, ...]) -> str:
    return hashlib.sha256(json.dumps([previous, *content]).encode()).hexdigest()
