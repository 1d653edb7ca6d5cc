"""What the fleet wants of each device: one set of settings, with a version that only rises."""

import json
from dataclasses import dataclass, field

from outpost.fleet.registry.database import Database, Row


@dataclass(frozen=True)
class Desired:
    device: str
    version: int = 0
    settings: dict[str, int] = field(default_factory=dict)
    issued_ms: int = 0
    actor: str = ""


class DesiredStates:
    def __init__(self, db: Database) -> None:
        self._db = db

    def of(self, device: str) -> Desired:
        """Version 0 with nothing in it when nothing was ever asked of the device."""
        row = self._db.one("SELECT * FROM desired WHERE device = ?", (device,))
        return _desired(row) if row else Desired(device)

    def all(self) -> list[Desired]:
        return [_desired(row) for row in self._db.all("SELECT * FROM desired ORDER BY device")]

    def save(self, desired: Desired) -> None:
        with self._db.write() as db:
            db.execute(
                "INSERT INTO desired VALUES (?, ?, ?, ?, ?) ON CONFLICT (device) DO UPDATE SET"
                " version = excluded.version, settings = excluded.settings,"
                " issued_ms = excluded.issued_ms, actor = excluded.actor",
                (
                    desired.device,
                    desired.version,
                    json.dumps(desired.settings),
                    desired.issued_ms,
                    desired.actor,
                ),
            )

    def forget(self, device: str) -> None:
        with self._db.write() as db:
            db.execute("DELETE FROM desired WHERE device = ?", (device,))


def _desired(row: Row) -> Desired:
    return Desired(
        row["device"], row["version"], json.loads(row["settings"]), row["issued_ms"], row["actor"]
    )
