"""Published releases, their telemetry schemas, the heads that name them, and rollouts' rows."""

import json
from dataclasses import dataclass
from typing import Any

from outpost.errors import OutpostError
from outpost.fleet.registry.database import Database, Row


@dataclass(frozen=True)
class Release:
    """A verified release; `payload` is its manifest with bytes as hex, for people and pages."""

    digest: str
    product: str
    version: str
    epoch: int
    document: bytes
    payload: dict[str, Any]
    schema_id: str | None = None
    published_ms: int = 0


@dataclass(frozen=True)
class Head:
    """A signed pointer; `name` is a device id or a channel, `sequence` only ever rises."""

    name: str
    release: str
    sequence: int
    issued_ms: int
    expires_ms: int
    document: bytes


@dataclass(frozen=True)
class RolloutRow:
    """A rollout as stored: the engine's own JSON, plus what lists need."""

    id: str
    product: str
    release: str
    state: str
    created_ms: int
    document: dict[str, Any]


class Releases:
    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, release: Release, schema: bytes | None = None) -> None:
        with self._db.write() as db:
            if schema is not None and release.schema_id is not None:
                db.execute(
                    "INSERT OR IGNORE INTO schemas VALUES (?, ?, ?)",
                    (release.schema_id, release.product, schema),
                )
            known = db.execute(
                "SELECT digest FROM releases WHERE product = ? AND version = ?",
                (release.product, release.version),
            ).fetchone()
            if known and known["digest"] != release.digest:
                raise OutpostError(
                    "version-taken",
                    f"{release.product} {release.version} is already published"
                    " with other contents",
                    "raise the version; a published one never changes",
                    7,
                )
            db.execute(
                "INSERT OR IGNORE INTO releases VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    release.digest,
                    release.product,
                    release.version,
                    release.epoch,
                    release.document,
                    json.dumps(release.payload),
                    release.schema_id,
                    release.published_ms,
                ),
            )

    def find(self, digest: str) -> Release | None:
        row = self._db.one("SELECT * FROM releases WHERE digest = ?", (digest,))
        return _release(row) if row else None

    def get(self, digest: str) -> Release:
        release = self.find(digest)
        if release is None:
            raise OutpostError(
                "unknown-release", f"no release {digest} in this fleet", "publish it first", 3
            )
        return release

    def by_version(self, product: str, version: str) -> Release:
        row = self._db.one(
            "SELECT * FROM releases WHERE product = ? AND version = ?", (product, version)
        )
        if row is None:
            raise OutpostError(
                "unknown-release",
                f"no release {product} {version} in this fleet",
                "publish it first",
                3,
            )
        return _release(row)

    def all(self, product: str | None = None) -> list[Release]:
        """Newest first."""
        return [
            _release(row)
            for row in self._db.all(
                "SELECT * FROM releases WHERE ? IS NULL OR product = ?"
                " ORDER BY published_ms DESC, rowid DESC",
                (product, product),
            )
        ]

    def schema(self, schema_id: str) -> bytes | None:
        row = self._db.one("SELECT body FROM schemas WHERE id = ?", (schema_id,))
        return bytes(row["body"]) if row else None

    def head(self, name: str) -> Head | None:
        row = self._db.one("SELECT * FROM heads WHERE name = ?", (name,))
        return Head(**dict(row)) if row else None

    def heads(self) -> list[Head]:
        return [Head(**dict(row)) for row in self._db.all("SELECT * FROM heads ORDER BY name")]

    def set_head(self, head: Head) -> None:
        """Persisted before it is served; a sequence that does not rise is a bug of the caller."""
        with self._db.write() as db:
            changed = db.execute(
                "INSERT INTO heads VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
                " release = excluded.release, sequence = excluded.sequence,"
                " issued_ms = excluded.issued_ms, expires_ms = excluded.expires_ms,"
                " document = excluded.document WHERE excluded.sequence > heads.sequence",
                (
                    head.name,
                    head.release,
                    head.sequence,
                    head.issued_ms,
                    head.expires_ms,
                    head.document,
                ),
            ).rowcount
        if not changed:
            raise OutpostError(
                "head-sequence",
                f"head {head.name}: sequence {head.sequence} is not newer",
                "read the stored head before signing the next",
                6,
            )


class Rollouts:
    """Storage only; the engine is `outpost.fleet.rollout`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def save(self, row: RolloutRow, devices: dict[str, tuple[str, dict[str, Any]]]) -> None:
        """The rollout and those of its devices that changed, in one transaction."""
        with self._db.write() as db:
            db.execute(
                "INSERT INTO rollouts VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
                " SET state = excluded.state, document = excluded.document",
                (
                    row.id,
                    row.product,
                    row.release,
                    row.state,
                    row.created_ms,
                    json.dumps(row.document),
                ),
            )
            db.executemany(
                "INSERT INTO rollout_devices VALUES (?, ?, ?, ?) ON CONFLICT (rollout, device)"
                " DO UPDATE SET state = excluded.state, document = excluded.document",
                [
                    (row.id, device, state, json.dumps(document))
                    for device, (state, document) in devices.items()
                ],
            )

    def all(self) -> list[RolloutRow]:
        """Newest first."""
        return [
            _rollout(row)
            for row in self._db.all("SELECT * FROM rollouts ORDER BY created_ms DESC, rowid DESC")
        ]

    def devices(self, rollout_id: str) -> dict[str, tuple[str, dict[str, Any]]]:
        return {
            row["device"]: (row["state"], json.loads(row["document"]))
            for row in self._db.all(
                "SELECT * FROM rollout_devices WHERE rollout = ? ORDER BY device", (rollout_id,)
            )
        }


def _release(row: Row) -> Release:
    return Release(
        row["digest"],
        row["product"],
        row["version"],
        row["epoch"],
        bytes(row["document"]),
        json.loads(row["payload"]),
        row["schema_id"],
        row["published_ms"],
    )


def _rollout(row: Row) -> RolloutRow:
    return RolloutRow(
        row["id"],
        row["product"],
        row["release"],
        row["state"],
        row["created_ms"],
        json.loads(row["document"]),
    )
