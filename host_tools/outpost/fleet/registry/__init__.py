"""The fleet's memory: devices, telemetry, events, releases, rollouts, commands and the audit.

`Registry.open(path)` is the SQLite adapter.  What callers may rely on is what
`tests/host/test_fleet_registry.py` runs against every adapter; a PostgreSQL one passes the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from outpost.fleet.registry.certificates import Certificate, Certificates
from outpost.fleet.registry.commands import Command, Commands
from outpost.fleet.registry.database import Database
from outpost.fleet.registry.desired import Desired, DesiredStates
from outpost.fleet.registry.devices import Device, Devices, Identity, valid_device_id
from outpost.fleet.registry.journal import (
    Audit,
    AuditLine,
    Event,
    Journal,
    Reject,
    SecurityEvent,
)
from outpost.fleet.registry.releases import Head, Release, Releases, RolloutRow, Rollouts
from outpost.fleet.registry.telemetry import Flow, Reading, Telemetry

__all__ = [
    "Audit",
    "AuditLine",
    "Certificate",
    "Certificates",
    "Command",
    "Commands",
    "Desired",
    "DesiredStates",
    "Device",
    "Devices",
    "Event",
    "Flow",
    "Head",
    "Identity",
    "Journal",
    "Reading",
    "Registry",
    "Reject",
    "Release",
    "Releases",
    "RolloutRow",
    "Rollouts",
    "SecurityEvent",
    "Telemetry",
    "valid_device_id",
]


class Registry:
    """All parts over one database; `transaction()` makes several changes one."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.devices = Devices(db)
        self.telemetry = Telemetry(db)
        self.journal = Journal(db)
        self.releases = Releases(db)
        self.rollouts = Rollouts(db)
        self.commands = Commands(db)
        self.certificates = Certificates(db)
        self.desired = DesiredStates(db)
        self.audit = Audit(db)

    @classmethod
    def open(cls, path: Path) -> "Registry":
        db = Database(path)
        db.migrate()
        return cls(db)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._db.write():
            yield

    def close(self) -> None:
        self._db.close()
