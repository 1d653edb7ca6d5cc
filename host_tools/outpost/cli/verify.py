"""`outpost verify`: checks a signed document as a device would, and says what it found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from outpost.cli import output
from outpost.cli.signers import read_file
from outpost.errors import ExitCode

_FILE = click.Path(exists=True, path_type=Path)


@click.command()
@click.argument("path", type=_FILE)
@click.option(
    "--root",
    "root_path",
    required=True,
    type=_FILE,
    help="Trust root in force: a .cose file, or a folder of `outpost keys`.",
)
@click.option("--board", help="Compare a release with this board.")
@click.option("--hardware", "hw", default=1, show_default=True, help="Its hardware revision.")
@click.option("--product", help="The device's product [the release's own].")
@click.option("--epoch-floor", default=0, show_default=True, help="The device's epoch floor.")
@click.option("--files", type=_FILE, help="Folder of the files a release lists.")
@click.option("--name", help="The head is to be for this channel or device.")
@click.option("--seen", default=0, show_default=True, help="Sequence of the last head.")
@click.option("--now", type=int, help="Unix seconds, for heads and commands.")
@click.pass_context
def command(ctx: click.Context, /, path: Path, root_path: Path, **given: Any) -> None:
    """Check a signed release as a device would.

    PATH is a release, head, root or ops document, or a build folder. Exit code 5 when it is
    refused; the reason codes are in docs/reference/formats.md.
    """
    from outpost.signing import cose, explain

    folder = path if path.is_dir() else None
    document = read_file(path / "release.cose" if folder else path)
    role = cose.role_of(document)
    if role is None:
        role = "release"  # let the explanation say what is wrong with it
    context = explain.Context(
        device=_device(given, document) if given["board"] else None,
        head_name=given["name"],
        seen=(0, given["seen"]),
        now_s=given["now"],
        files=given["files"] or (folder / "files" if folder else None),
    )
    verdict = explain.explain(role, document, _root(root_path), context)
    body = {
        "role": role,
        "verified": verdict.ok,
        "code": verdict.code,
        "checks": [vars(check) for check in verdict.checks],
    }
    if not verdict.ok:
        output.note(_text(verdict))
        last = verdict.checks[-1]
        fix = "see its entry in docs/reference/formats.md"
        output.fail(ExitCode.VERIFICATION_FAILED, last.code, f"{last.name}: {last.found}", fix)
    output.result(ctx, body, lambda: _text(verdict))


def _root(path: Path) -> bytes:
    if not path.is_dir():
        return read_file(path)
    from outpost.signing import Ceremony

    return Ceremony(path).root()


def _device(given: dict[str, Any], document: bytes) -> dict[str, Any]:
    """Facts of a device with this board's stock firmware and an empty boot record."""
    from loader import cbor, layout, trust

    from outpost.boards import load_board

    board = load_board(given["board"])
    release = cbor.decode(trust.unwrap("release", document)[0])
    ota = [part.bytes for part in board.partitions if part.name.startswith("ota_")]
    return {
        "product": given["product"] or release.get("product"),
        "board": board.name,
        "chip": board.chip.name,
        "hw": given["hw"],
        "slot_budget": board.filesystem.bytes // 2,
        "runtime_max": min(ota, default=0),
        "mpy": 6,
        "micropython": [1, 25, 0],
        "loader": layout.LOADER,
        "floor": [0, given["epoch_floor"]],
        "failed": [],
        "era": 0,
    }


def _text(verdict: Any) -> str:
    rows = [
        [_mark(check.ok), check.name, check.found + (f" [{check.code}]" if check.code else "")]
        for check in verdict.checks
    ]
    end = "verified" if verdict.ok else f"refused: {verdict.code}"
    return output.table(rows) + "\n" + end


def _mark(ok: bool) -> str:
    return output.style("ok", fg="green") if ok else output.style("NO", fg="red")
