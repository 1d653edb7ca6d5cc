"""Who is in the fleet and what each device last said about itself."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from outpost.errors import OutpostError
from outpost.fleet.registry.database import Database, Row

DEVICE_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
STATES = ("active", "suspended", "decommissioned")


def valid_device_id(name: str) -> bool:
    return DEVICE_ID.match(name) is not None


@dataclass(frozen=True)
class Identity:
    """What enrolment knows; hw uid, certificate and public key belong to one device only."""

    id: str
    product: str
    board: str
    hw_uid: str | None = None
    cert_serial: str | None = None
    spki_sha256: str | None = None


@dataclass(frozen=True)
class Device:
    """One row of the fleet table."""

    id: str
    product: str
    board: str
    hw_uid: str | None
    cert_serial: str | None
    spki_sha256: str | None
    state: str
    created_ms: int
    version: str | None
    slot: str | None
    epoch: int | None
    release: str | None
    confirmed: bool
    online: bool
    last_seen_ms: int | None
    boot: int | None
    reset_cause: str | None
    heartbeat: dict[str, Any] = field(default_factory=dict)
    heartbeat_ms: int | None = None
    reported: dict[str, Any] = field(default_factory=dict)


def _device(row: Row) -> Device:
    values = dict(row)
    values["confirmed"] = bool(values["confirmed"])
    values["online"] = bool(values["online"])
    values["heartbeat"] = json.loads(values["heartbeat"])
    values["reported"] = json.loads(values["reported"])
    return Device(**values)


class Devices:
    """Enrolment, life cycle and the last reported state."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, identity: Identity, now_ms: int) -> Device:
        """Enrol; enrolling the very same identity again changes nothing (stations retry)."""
        if not valid_device_id(identity.id):
            raise OutpostError(
                "device-id",
                f"{identity.id!r} is not a device id",
                "use a-z, 0-9 and '-', 63 characters at most",
                2,
            )
        with self._db.write() as db:
            self._refuse_clone(identity)
            db.execute(
                "INSERT INTO devices (id, product, board, hw_uid, cert_serial, spki_sha256, state,"
                " created_ms) VALUES (?, ?, ?, ?, ?, ?, 'active', ?) ON CONFLICT (id) DO UPDATE"
                " SET product = excluded.product, board = excluded.board,"
                " hw_uid = excluded.hw_uid, cert_serial = excluded.cert_serial,"
                " spki_sha256 = excluded.spki_sha256",
                (
                    identity.id,
                    identity.product,
                    identity.board,
                    identity.hw_uid,
                    identity.cert_serial,
                    identity.spki_sha256,
                    now_ms,
                ),
            )
            if identity.cert_serial:
                db.execute(
                    "INSERT OR IGNORE INTO certificates (serial, device) VALUES (?, ?)",
                    (identity.cert_serial, identity.id),
                )
        return self.get(identity.id)

    def _refuse_clone(self, identity: Identity) -> None:
        for column in ("hw_uid", "cert_serial", "spki_sha256"):
            value = getattr(identity, column)
            row = value and self._db.one(
                f"SELECT id FROM devices WHERE {column} = ? AND id != ?", (value, identity.id)
            )
            if row:
                raise OutpostError(
                    "clone",
                    f"{column} {value} already belongs to {row['id']}",
                    "retire the other device first, or look for a cloned board",
                    7,
                )
        known = self.find(identity.id)
        if known and known.hw_uid and identity.hw_uid and known.hw_uid != identity.hw_uid:
            raise OutpostError(
                "device-taken",
                f"{identity.id} is another board ({known.hw_uid})",
                "choose another device id",
                7,
            )

    def certificates(self, device_id: str) -> list[str]:
        """Serial numbers of all the device ever had."""
        rows = self._db.all(
            "SELECT serial FROM certificates WHERE device = ? ORDER BY serial", (device_id,)
        )
        return [row["serial"] for row in rows]

    def find(self, device_id: str) -> Device | None:
        row = self._db.one("SELECT * FROM devices WHERE id = ?", (device_id,))
        return _device(row) if row else None

    def get(self, device_id: str) -> Device:
        device = self.find(device_id)
        if device is None:
            raise OutpostError(
                "unknown-device",
                f"no device {device_id!r} in this fleet",
                "`outpost device list` shows them",
                3,
            )
        return device

    def all(self, product: str | None = None) -> list[Device]:
        rows = self._db.all(
            "SELECT * FROM devices WHERE ? IS NULL OR product = ? ORDER BY id", (product, product)
        )
        return [_device(row) for row in rows]

    def ids(self) -> list[str]:
        return [row["id"] for row in self._db.all("SELECT id FROM devices ORDER BY id")]

    def by_hw_uid(self, hw_uid: str) -> Device | None:
        row = self._db.one("SELECT * FROM devices WHERE hw_uid = ?", (hw_uid,))
        return _device(row) if row else None

    def set_state(self, device_id: str, state: str) -> None:
        self.get(device_id)
        with self._db.write() as db:
            db.execute("UPDATE devices SET state = ? WHERE id = ?", (state, device_id))

    def seen(self, device_id: str, now_ms: int, online: bool | None = None) -> None:
        with self._db.write() as db:
            db.execute(
                "UPDATE devices SET last_seen_ms = max(coalesce(last_seen_ms, 0), ?),"
                " online = coalesce(?, online) WHERE id = ?",
                (now_ms, None if online is None else int(online), device_id),
            )

    def gone(self, device_id: str) -> None:
        """The will arrived: the broker lost the device.  That is not a sign of life."""
        with self._db.write() as db:
            db.execute("UPDATE devices SET online = 0 WHERE id = ?", (device_id,))

    def heartbeat(self, device_id: str, body: dict[str, Any], now_ms: int) -> None:
        with self._db.write() as db:
            db.execute(
                "UPDATE devices SET heartbeat = ?, heartbeat_ms = ? WHERE id = ?",
                (json.dumps(body), now_ms, device_id),
            )

    def booted(self, device_id: str, boot: int | None, reset_cause: str | None) -> None:
        with self._db.write() as db:
            db.execute(
                "UPDATE devices SET boot = coalesce(?, boot),"
                " reset_cause = coalesce(?, reset_cause) WHERE id = ?",
                (boot, reset_cause, device_id),
            )

    def report(self, device_id: str, body: dict[str, Any]) -> None:
        """The retained state: version, slot, epoch, release digest, confirmed, and more."""
        known = {
            key: body.get(key) if isinstance(body.get(key), kind) else None
            for key, kind in (("version", str), ("slot", str), ("epoch", int), ("release", str))
        }
        with self._db.write() as db:
            db.execute(
                "UPDATE devices SET version = ?, slot = ?, epoch = ?, release = ?,"
                " confirmed = ?, reported = ? WHERE id = ?",
                (
                    known["version"],
                    known["slot"],
                    known["epoch"],
                    known["release"],
                    int(body.get("confirmed") is True),
                    json.dumps(body),
                    device_id,
                ),
            )
