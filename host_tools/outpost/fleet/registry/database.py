"""One SQLite file in WAL mode, shared by the ingest, HTTP and rollout threads.

Invariants: a thread reads through its own connection, so a long read never blocks ingest;
all writes of this process pass one lock and are `BEGIN IMMEDIATE` transactions, so a reader never
meets half a batch and two writers never deadlock on lock promotion.  Another process (a factory
station, the command line) may open the same file; SQLite's own locking covers that.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from outpost.fleet.registry.migrations import MIGRATIONS

BUSY_TIMEOUT_MS = 10_000

Row = sqlite3.Row

# (begin, commit, undo) of an outermost and of a nested transaction.
_STATEMENTS = (
    ("BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",)),
    (
        "SAVEPOINT inner_step",
        "RELEASE inner_step",
        ("ROLLBACK TO inner_step", "RELEASE inner_step"),
    ),
)


class Database:
    """Connections, transactions and migrations; knows no table by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._write_lock = threading.RLock()
        self._open: list[sqlite3.Connection] = []
        self._open_lock = threading.Lock()
        self._depth = 0

    def migrate(self) -> int:
        """Bring the file to the newest schema, one transaction per step; returns the version."""
        connection = self._connection()
        connection.execute("PRAGMA journal_mode = WAL")
        with self.write() as db:
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
                for statement in statements:
                    db.execute(statement)
                # PRAGMA takes no parameters; the number is ours.
                db.execute(f"PRAGMA user_version = {number:d}")
        return len(MIGRATIONS)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction; nested use is a savepoint, so its failure undoes only itself."""
        with self._write_lock:
            connection = self._connection()
            begin, done, undo = _STATEMENTS[bool(self._depth)]
            connection.execute(begin)
            self._depth += 1
            try:
                yield connection
            except BaseException:
                for statement in undo:
                    connection.execute(statement)
                raise
            else:
                connection.execute(done)
            finally:
                self._depth -= 1

    def all(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self._connection().execute(sql, parameters).fetchall()

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        row: Row | None = self._connection().execute(sql, parameters).fetchone()
        return row

    def close(self) -> None:
        with self._open_lock:
            for connection in self._open:
                connection.close()
            self._open.clear()
            self._local = threading.local()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self.path,
                timeout=BUSY_TIMEOUT_MS / 1000,
                isolation_level=None,
                check_same_thread=False,
            )
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA foreign_keys = ON")
            # FULL: what is committed was acknowledged to a device, which then deletes its own.
            connection.execute("PRAGMA synchronous = FULL")
            self._local.connection = connection
            with self._open_lock:
                self._open.append(connection)
        return connection
