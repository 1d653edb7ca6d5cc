"""outpost build: a product's folder to a release that can be signed, and to factory images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from outpost.cli import output
from outpost.cli.signers import open_keys, passphrase_option

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("product", type=_FOLDER)
@click.option(
    "--out", type=_FOLDER, default=Path("build"), show_default=True, help="Where it goes."
)
@click.option("--version", "version", help="Version instead of the one in product.toml.")
@click.option("--overlay", type=_FOLDER, help="Files laid over firmware/, such as node/main.py.")
@click.option("--source", help="Source revision, when git cannot tell it.")
@click.option(
    "--runtime", type=_FILE, help="MicroPython image (.bin) that goes with it, for an OTA board."
)
@click.option("--root", type=_FILE, help="Trust root; makes factory images of the signed release.")
@click.option("--sign", "key", type=_FILE, help="Sign with this release key (a .pem) right away.")
@passphrase_option
@click.pass_context
def command(ctx: click.Context, /, product: Path, **options: Any) -> None:
    """Compile PRODUCT (a folder with a product.toml) into a release.

    The same sources give the same bytes on any machine. Next: `outpost sign`, `outpost publish`;
    or at once, for development: --sign KEY --root ROOT. A build that comes out the same
    keeps its signatures: `outpost build PRODUCT --root ROOT` after `outpost sign` makes the
    images.
    """
    from outpost import build

    built = build.build(
        product,
        options["out"],
        options["version"],
        options["overlay"],
        options["source"],
        options["runtime"],
    )
    if options["key"]:
        _sign(
            built.payload,
            built.signed,
            open_keys([str(options["key"])], options["passphrase_file"]),
        )
    images = []
    if options["root"]:
        images = [
            build.factory_image(built.folder, board, options["root"]) for board in built.boards
        ]
    body = {
        "folder": str(built.folder),
        "product": built.product,
        "version": built.version,
        "digest": built.digest,
        "boards": list(built.boards),
        "files": built.files,
        "bytes": built.bytes,
        "budget": built.budget,
        "source": built.source,
        "images": [str(image) for image in images],
    }
    output.result(ctx, body, lambda: _text(body, built.seconds))


def _sign(payload: Path, signed: Path, keys: list[Any]) -> None:
    from outpost.signing import cose

    cose.sign_file("release", payload, signed, *keys)


def _text(body: dict[str, Any], seconds: float) -> str:
    lines = [
        f"{body['product']} {body['version']} in {body['folder']} ({seconds:.1f} s)",
        f"  release  {body['digest']}",
        f"  files    {body['files']}, {body['bytes']} bytes in {body['budget'] // 1024} KiB",
        f"  boards   {', '.join(body['boards'])}",
        *(f"  image    {image}" for image in body["images"]),
    ]
    return "\n".join(lines)
