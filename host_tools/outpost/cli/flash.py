"""outpost flash: a factory image, and the runtime with it, onto a board."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from outpost.cli import output

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("build_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--board", required=True, help="The board that is connected.")
@click.option(
    "--port",
    default="auto",
    show_default=True,
    help="Serial port, id:SERIAL, loc:LOCATION or auto; for an RP2040 the folder of its "
    "BOOTSEL drive, or picotool.",
)
@click.option(
    "--runtime", type=_FILE, help="MicroPython for the board (.bin or .uf2), written too."
)
@click.option(
    "--baud",
    type=click.IntRange(9600, 3_000_000),
    default=460_800,
    show_default=True,
    help="Serial speed (ESP32).",
)
@click.option("--dry-run", is_flag=True, help="Print what would be run, and do nothing.")
@click.pass_context
def command(ctx: click.Context, /, build_dir: Path, **options: Any) -> None:
    """Write the factory image of a signed build to a board.

    It replaces the board's whole filesystem, its identity included. The port must be named unless
    exactly one is a board of this kind; no other is opened.
    """
    from outpost.boards import load_board
    from outpost.factory import flash, ports

    board = load_board(options["board"])
    image = build_dir / "factory" / f"{board.name}.img"
    if not image.exists():
        output.fail(
            2,
            "no-image",
            f"{image} does not exist",
            "make it: outpost build --sign KEY --root ROOT",
        )
    port = ports.choose(options["port"], board)
    plan = flash.plan_flash(board, image, port, options["runtime"], options["baud"])
    body = {"board": board.name, "port": port, "dry_run": options["dry_run"], "plan": plan.lines()}
    if options["dry_run"]:
        output.result(ctx, body, "\n".join(plan.lines()))
        return
    flash.run_flash(plan, output.note)
    output.result(ctx, body, f"{board.title} at {port} is flashed; next: outpost provision")
