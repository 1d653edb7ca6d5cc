"""outpost flash: a factory image, and the runtime with it, onto a board."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from outpost.cli import output

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument(
    "build_dir", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False
)
@click.option("--board", required=True, help="The board that is connected.")
@click.option(
    "--bundle",
    "bundle_path",
    type=_FILE,
    help="Install this bundle (of `outpost publish --bundle`) instead: data and identity stay.",
)
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
def command(
    ctx: click.Context, /, build_dir: Path | None, bundle_path: Path | None, **options: Any
) -> None:
    """Write the factory image of a signed build to a board, or a bundle.

    The image replaces the board's whole filesystem, its identity included. A bundle is installed
    like an update, over the REPL of a board that runs or is in safe mode: verified by the board,
    tried, and rolled back if it does not become healthy. The port must be named unless exactly one
    is a board of this kind; no other is opened.
    """
    from outpost.boards import load_board
    from outpost.factory import flash, ports

    board = load_board(options["board"])
    if (build_dir is None) == (bundle_path is None):
        output.fail(2, "no-source", "one source is needed", "give BUILD_DIR or --bundle FILE")
    if bundle_path is not None:
        _install(ctx, bundle_path, board, ports.choose(options["port"], board), options["dry_run"])
        return
    assert build_dir is not None
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


def _install(ctx: click.Context, path: Path, board: Any, port: str, dry_run: bool) -> None:
    from outpost.factory import bundle
    from outpost.factory.install import install
    from outpost.factory.link import open_link

    opened = bundle.read(path)
    release = opened.release
    body: dict[str, Any] = {"board": board.name, "port": port, "dry_run": dry_run}
    body.update(version=release["version"], release=release["digest"].hex())
    if board.name not in release["boards"]:
        boards = ", ".join(release["boards"])
        output.fail(5, "board", f"{path} is not for {board.name}", f"it is for {boards}")
    if dry_run:
        output.result(ctx, body, f"would install {release['version']} on {board.title} at {port}")
        return
    report = install(open_link(port), opened, output.note)
    body.update(sent=report.sent, copied=report.copied, kept=report.kept)
    text = f"{release['version']} is on trial on {board.title} at {port}"
    output.result(ctx, body, f"{text}: {report.sent} of {len(opened.files)} files sent")
