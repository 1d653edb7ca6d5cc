"""Commands sent to devices and the answers that came back."""

import json
from dataclasses import dataclass
from typing import Any

from outpost.fleet.registry.database import Database, Row


@dataclass(frozen=True)
class Command:
    id: str
    device: str
    cmd: str
    args: dict[str, Any]
    issued_ms: int
    expires_ms: int
    replied_ms: int | None = None
    ok: bool | None = None
    reply: dict[str, Any] | None = None


class Commands:
    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, command: Command) -> None:
        with self._db.write() as db:
            db.execute(
                "INSERT INTO commands (id, device, cmd, args, issued_ms, expires_ms)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    command.id,
                    command.device,
                    command.cmd,
                    json.dumps(command.args),
                    command.issued_ms,
                    command.expires_ms,
                ),
            )

    def replied(
        self, device: str, command_id: str, ok: bool, reply: dict[str, Any], now_ms: int
    ) -> bool:
        """False when this device was never sent that command, or has answered it before."""
        with self._db.write() as db:
            return (
                db.execute(
                    "UPDATE commands SET replied_ms = ?, ok = ?, reply = ?"
                    " WHERE id = ? AND device = ? AND replied_ms IS NULL",
                    (now_ms, int(ok), json.dumps(reply), command_id, device),
                ).rowcount
                == 1
            )

    def get(self, command_id: str) -> Command | None:
        row = self._db.one("SELECT * FROM commands WHERE id = ?", (command_id,))
        return _command(row) if row else None

    def of(self, device: str, limit: int = 50) -> list[Command]:
        """Newest first."""
        return [
            _command(row)
            for row in self._db.all(
                "SELECT * FROM commands WHERE device = ? ORDER BY issued_ms DESC LIMIT ?",
                (device, limit),
            )
        ]

    def counts(self) -> dict[str, int]:
        """How many were answered well, refused, and are not answered."""
        rows = self._db.all("SELECT ok, count(*) AS number FROM commands GROUP BY ok")
        names = {None: "waiting", 0: "refused", 1: "ok"}
        return {names[row["ok"]]: row["number"] for row in rows}


def _command(row: Row) -> Command:
    return Command(
        row["id"],
        row["device"],
        row["cmd"],
        json.loads(row["args"]),
        row["issued_ms"],
        row["expires_ms"],
        row["replied_ms"],
        None if row["ok"] is None else bool(row["ok"]),
        json.loads(row["reply"]) if row["reply"] else None,
    )
