"""outpost audit: the station's log, checked, shown and exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from outpost.cli import output

if TYPE_CHECKING:
    from outpost.factory.audit import AuditLog

_STATION = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("station"),
    show_default=True,
    help="The station's folder.",
)


@click.group()
def command() -> None:
    """Read and check the factory's audit log and journal."""


@command.command()
@_STATION
@click.option("--head", help="A hash noted earlier, which the log must still contain.")
@click.pass_context
def verify(ctx: click.Context, folder: Path, head: str | None) -> None:
    """Check that no line was changed, removed or swapped (exit code 5 when one was)."""
    count, last = _log(folder).verify(head)
    body = {"lines": count, "head": last}
    output.result(ctx, body, f"{count} lines, unbroken; note this head elsewhere: {last}")


@command.command()
@_STATION
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="JSON lines file to write.",
)
@click.pass_context
def export(ctx: click.Context, folder: Path, out: Path) -> None:
    """Check the log and copy it."""
    log = _log(folder)
    count, last = log.verify()
    out.write_bytes(log.path.read_bytes())
    output.result(ctx, {"lines": count, "head": last, "file": str(out)}, f"{count} lines in {out}")


@command.command()
@_STATION
@click.option("--device", help="Only the lines about this device.")
@click.pass_context
def show(ctx: click.Context, folder: Path, device: str | None) -> None:
    """Print the log."""
    lines = [line for line in _log(folder).lines() if device in (None, line.get("device"))]
    output.result(ctx, {"lines": lines}, lambda: "\n".join(_shown(line) for line in lines))


@command.command()
@_STATION
@click.pass_context
def units(ctx: click.Context, folder: Path) -> None:
    """List the units of the journal, with the state each has reached."""
    from outpost.factory.journal import Journal

    _log(folder)
    journal = Journal(folder / "journal.db")
    rows = [
        {
            "device": unit.device_id,
            "uid": unit.uid,
            "board": unit.board,
            "state": unit.state,
            "attempts": unit.attempts,
            "error": unit.error,
        }
        for unit in journal.units()
    ]
    journal.close()
    table = [[str(value or "-") for value in row.values()] for row in rows]
    head = ["device", "uid", "board", "state", "attempts", "error"]
    output.result(ctx, {"units": rows}, lambda: output.table(table, head))


def _log(folder: Path) -> AuditLog:
    from outpost.factory.audit import AuditLog

    if not (folder / "audit.jsonl").exists():
        output.fail(2, "no-station", f"{folder} holds no audit log", "name the station: --folder")
    return AuditLog(folder / "audit.jsonl")


def _shown(line: dict[str, object]) -> str:
    rest = {k: v for k, v in line.items() if k not in ("hash", "prev", "at", "event", "seq")}
    return f"{line['seq']:>5}  {line['at']}  {line['event']}  {json.dumps(rest, sort_keys=True)}"
