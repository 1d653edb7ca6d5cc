"""The station's journal: which unit is where, written before anything is done to a board.

Owns journal.db (SQLite, WAL, synchronous=FULL: a commit is on the disk). Invariants: a serial
number is given out once and bound to one hardware id before it appears anywhere else; a step is
written down as begun before its side effects and as done, with its results, after they were read
back; a public key, a hardware id and a serial each belong to one unit. Private keys and Wi-Fi
passwords are never in it.
"""

import datetime
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outpost.errors import ExitCode, OutpostError
from outpost.factory import serials

# In order; a unit's state is the last one that was completed.
STATES = (
    "IDENTIFIED",
    "RESERVED",
    "FLASHED",
    "KEYED",
    "CERTIFIED",
    "WRITTEN",
    "SELF_TESTED",
    "SEALED",
)
FAILED = "FAILED"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS unit (
    uid TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    device_id TEXT UNIQUE,
    product TEXT NOT NULL DEFAULT '',
    board TEXT NOT NULL DEFAULT '',
    csr BLOB,
    spki_sha256 TEXT UNIQUE,
    certificate BLOB,
    facts TEXT NOT NULL DEFAULT '{}',
    error TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    updated_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS step (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL REFERENCES unit (uid),
    state TEXT NOT NULL,
    begun_ms INTEGER NOT NULL,
    done_ms INTEGER,
    outcome TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE IF NOT EXISTS serial (
    product TEXT NOT NULL,
    number INTEGER NOT NULL,
    uid TEXT NOT NULL UNIQUE,
    void_reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (product, number)
) STRICT;
"""


@dataclass(frozen=True)
class Unit:
    """One piece of hardware as the journal knows it."""

    uid: str
    state: str
    device_id: str | None
    product: str
    board: str
    csr: bytes | None
    spki_sha256: str | None
    certificate: bytes | None
    facts: dict[str, Any]
    error: str
    attempts: int
    updated_ms: int

    def reached(self, state: str) -> bool:
        """True when this state, or one after it, has been completed."""
        return STATES.index(self.state) >= STATES.index(state)


class Journal:
    """One station's journal. Safe to share between threads; each call is one transaction."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA foreign_keys=ON")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def find(self, uid: str) -> Unit | None:
        with self._lock:
            row = self._db.execute("SELECT * FROM unit WHERE uid = ?", (uid,)).fetchone()
        return _unit(row) if row else None

    def by_device(self, device_id: str) -> Unit | None:
        with self._lock:
            row = self._db.execute(
                "SELECT * FROM unit WHERE device_id = ?", (device_id,)
            ).fetchone()
        return _unit(row) if row else None

    def units(self) -> list[Unit]:
        """Every unit, oldest serial first."""
        with self._lock:
            rows = self._db.execute("SELECT * FROM unit ORDER BY device_id, uid").fetchall()
        return [_unit(row) for row in rows]

    def identified(self, uid: str, board: str, facts: dict[str, Any]) -> Unit:
        """Note a unit the first time it is seen, and count the attempt."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO unit (uid, state, board, facts, updated_ms)"
                " VALUES (?, 'IDENTIFIED', ?, ?, ?) ON CONFLICT (uid) DO NOTHING",
                (uid, board, json.dumps(facts), _now_ms()),
            )
            db.execute("UPDATE unit SET attempts = attempts + 1, error = '' WHERE uid = ?", (uid,))
        return self._get(uid)

    def reserve(
        self, uid: str, product: str, day: datetime.date, block: tuple[int, int] = serials.ALL
    ) -> Unit:
        """Bind the next free number of this station's `block` to this unit; once it has one, that.

        Stations that share a fleet get blocks that do not overlap; numbers are never used again.
        """
        with self._transaction() as db:
            row = db.execute("SELECT device_id FROM unit WHERE uid = ?", (uid,)).fetchone()
            if row["device_id"] is None:
                last = db.execute(
                    "SELECT max(number) FROM serial WHERE product = ?", (product,)
                ).fetchone()[0]
                number = max(block[0], (last or 0) + 1)
                if number > block[1]:
                    message = f"the block of serial numbers {block[0]}-{block[1]} is used up"
                    fix = "give the station another block"
                    raise OutpostError("serials-used-up", message, fix, ExitCode.USAGE)
                device_id = serials.device_id(product, number, day)
                db.execute(
                    "INSERT INTO serial (product, number, uid) VALUES (?, ?, ?)",
                    (product, number, uid),
                )
                db.execute(
                    "UPDATE unit SET device_id = ?, product = ?, state = 'RESERVED',"
                    " updated_ms = ? WHERE uid = ?",
                    (device_id, product, _now_ms(), uid),
                )
        return self._get(uid)

    def begin(self, uid: str, state: str) -> int:
        """Write down that the step towards `state` is about to touch the board; its id."""
        with self._transaction() as db:
            found = db.execute(
                "INSERT INTO step (uid, state, begun_ms) VALUES (?, ?, ?)", (uid, state, _now_ms())
            )
            return int(found.lastrowid or 0)

    def done(self, step: int, **results: Any) -> Unit:
        """The step was carried out and read back: keep its results and the new state."""
        columns = ("csr", "spki_sha256", "certificate")
        facts = {name: value for name, value in results.items() if name not in columns}
        with self._transaction() as db:
            row = db.execute("SELECT uid, state FROM step WHERE id = ?", (step,)).fetchone()
            db.execute(
                "UPDATE step SET done_ms = ?, outcome = 'ok' WHERE id = ?", (_now_ms(), step)
            )
            for name in columns:
                if name in results:
                    self._set_column(db, row["uid"], name, results[name])
            old = db.execute("SELECT facts FROM unit WHERE uid = ?", (row["uid"],)).fetchone()[
                "facts"
            ]
            db.execute(
                "UPDATE unit SET state = ?, facts = ?, updated_ms = ? WHERE uid = ?",
                (row["state"], json.dumps({**json.loads(old), **facts}), _now_ms(), row["uid"]),
            )
        return self._get(row["uid"])

    def _set_column(self, db: sqlite3.Connection, uid: str, name: str, value: Any) -> None:
        try:
            db.execute(
                f"UPDATE unit SET {name} = ? WHERE uid = ?", (value, uid)
            )  # name: of a fixed tuple
        except sqlite3.IntegrityError as error:
            message = f"the key of {uid} is another unit's: a cloned board or a bad random source"
            raise OutpostError(
                "key-cloned", message, "put the board aside", ExitCode.REFUSED
            ) from error

    def failed(self, step: int, code: str) -> None:
        """The step came to an end with an error; the unit's state stays, so that it can be taken
        up again.
        """
        with self._transaction() as db:
            row = db.execute("SELECT uid FROM step WHERE id = ?", (step,)).fetchone()
            db.execute(
                "UPDATE step SET done_ms = ?, outcome = ? WHERE id = ?", (_now_ms(), code, step)
            )
            db.execute(
                "UPDATE unit SET error = ?, updated_ms = ? WHERE uid = ?",
                (code, _now_ms(), row["uid"]),
            )

    def forget_identity(self, uid: str) -> Unit:
        """For a unit that is provisioned again: a new key and certificate, the same serial."""
        with self._transaction() as db:
            db.execute(
                "UPDATE unit SET state = 'RESERVED', csr = NULL, spki_sha256 = NULL,"
                " certificate = NULL WHERE uid = ?",
                (uid,),
            )
        return self._get(uid)

    def steps(self, uid: str) -> list[dict[str, Any]]:
        """Every step ever begun for a unit, in order."""
        with self._lock:
            rows = self._db.execute(
                "SELECT * FROM step WHERE uid = ? ORDER BY id", (uid,)
            ).fetchall()
        return [dict(row) for row in rows]

    def _get(self, uid: str) -> Unit:
        unit = self.find(uid)
        assert unit is not None
        return unit


def _unit(row: sqlite3.Row) -> Unit:
    return Unit(**{**dict(row), "facts": json.loads(row["facts"])})


def _now_ms() -> int:
    return int(datetime.datetime.now(datetime.UTC).timestamp() * 1000)
