"""outpost station: many boards at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import click

from outpost.cli import output
from outpost.cli.provision import station_config, station_options, summary

if TYPE_CHECKING:
    from outpost.factory.station import Station


@click.command()
@click.option(
    "--port", "ports", multiple=True, required=True, help="A slot of the jig; may be repeated."
)
@station_options
@click.pass_context
def command(ctx: click.Context, /, ports: tuple[str, ...], **options: Any) -> None:
    """Provision the boards at all given ports, side by side.

    Exit code 10 when some failed: run again, finished boards are left alone.
    """
    from outpost.cli.provision import resolve
    from outpost.factory import open_station

    station = open_station(station_config(options))
    station.on_step = lambda unit, state: output.note(f"  {unit.device_id}  {state.lower()}")
    named = [resolve(port, options["build_dir"]) for port in ports]
    if len(set(named)) != len(named):
        output.fail(2, "usage", "a port is named twice", "name each slot once")
    with ThreadPoolExecutor(len(named)) as pool:
        rows = list(pool.map(lambda port: _one(station, port), named))
    station.journal.close()
    failed = [row for row in rows if not row["ok"]]
    code = 0 if not failed else (10 if len(failed) < len(rows) else int(failed[0]["exit_code"]))
    output.result(ctx, {"units": rows}, lambda: _text(rows), code)


def _one(station: Station, port: str) -> dict[str, Any]:
    from outpost.errors import OutpostError

    try:
        return {"port": port, "ok": True, **summary(station.provision(port))}
    except OutpostError as error:
        return {"port": port, "ok": False, **error.as_dict()}


def _text(rows: list[dict[str, Any]]) -> str:
    shown = []
    for row in rows:
        verdict = output.style("PASS", fg="green") if row["ok"] else output.style("FAIL", fg="red")
        detail = row["device"] if row["ok"] else f"[{row['code']}] {row['message']}; {row['fix']}"
        shown.append([verdict, row["port"], detail])
    return output.table(shown)
