"""outpost new: a product's folder to start from."""

from __future__ import annotations

from pathlib import Path

import click

from outpost.cli import output


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--name", help="The product's name; the folder's when left out.")
@click.option("--board", "boards", multiple=True, help="A board it runs on; may be repeated.")
@click.option("--driver", default="", help="Start a driver of this name in the folder.")
@click.pass_context
def command(
    ctx: click.Context, folder: Path, name: str | None, boards: tuple[str, ...], driver: str
) -> None:
    """Write FOLDER/product.toml, and a driver if wanted: a product that builds as it is."""
    from outpost.boards import load_board
    from outpost.build.scaffold import scaffold

    chosen = boards or ("esp32_generic", "rpi_pico_w")
    for board in chosen:
        load_board(board)
    files = scaffold(folder, name or folder.resolve().name.replace("-", "_"), chosen, driver)
    body = {"folder": str(folder), "files": [str(path) for path in files]}
    shown = "\n".join(f"wrote {path}" for path in files)
    output.result(ctx, body, f"{shown}\nnext: outpost build {folder}")
