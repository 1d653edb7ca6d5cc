"""Boards that stay: a folder of working copies, each with its flash, its state and its kind.

A factory image is never run in place: `create` copies it to `<folder>/<name>.img`, writes
`<name>.json` beside it, and every later run finds the board as it was left.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from outpost.boards import board_names, load_board
from outpost.errors import ExitCode, OutpostError

_NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,62}$")


@dataclass(frozen=True)
class Placed:
    """A board on the workbench."""

    name: str
    board: str
    uid: str = ""

    def flash(self, folder: Path) -> Path:
        return folder / f"{self.name}.img"


def board_of_image(image: Path, given: str | None = None) -> str:
    """The kind of board an image is for: as given, or as its file is called."""
    if given:
        return load_board(given).name
    if image.stem in board_names():
        return image.stem
    raise OutpostError(
        "sim-which-board",
        f"{image.name} does not say which board it is for",
        f"--board {'|'.join(board_names())}",
        ExitCode.USAGE,
    )


def create(folder: Path, name: str, board: str, image: Path | None, uid: str = "") -> Placed:
    """Place a board called `name`, with a copy of `image` (or blank flash)."""
    if not _NAME.match(name):
        raise OutpostError(
            "sim-name", f"{name!r} is no name", "use a-z, 0-9, - and _", ExitCode.USAGE
        )
    placed = Placed(name, load_board(board).name, uid)
    folder.mkdir(parents=True, exist_ok=True)
    if placed.flash(folder).exists():
        raise OutpostError(
            "sim-exists",
            f"{name} is on the workbench already",
            f"outpost sim run {name}, or outpost sim remove {name}",
            ExitCode.ALREADY_DONE,
        )
    if image:
        shutil.copyfile(image, placed.flash(folder))
    (folder / f"{name}.json").write_text(json.dumps(asdict(placed)) + "\n", encoding="utf-8")
    return placed


def find(folder: Path, name: str) -> Placed:
    """The board called `name`."""
    try:
        return Placed(**json.loads((folder / f"{name}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise OutpostError(
            "sim-unknown",
            f"no board called {name!r} in {folder}",
            "outpost sim list",
            ExitCode.DEVICE_NOT_FOUND,
        ) from error


def find_or_create(folder: Path, name: str) -> Placed:
    """The board called `name`; an image's path puts a board of that image there first."""
    image = Path(name)
    if image.suffix != ".img" or not image.is_file():
        return find(folder, name)
    if (folder / f"{image.stem}.json").exists():
        return find(folder, image.stem)
    return create(folder, image.stem, board_of_image(image), image)


def listed(folder: Path) -> list[Placed]:
    return [find(folder, path.stem) for path in sorted(folder.glob("*.json"))]


def remove(folder: Path, name: str) -> None:
    """Take a board off the workbench, with all it remembers."""
    placed = find(folder, name)
    shutil.rmtree(placed.flash(folder).with_name(f"{name}.img.chip"), ignore_errors=True)
    placed.flash(folder).unlink(missing_ok=True)
    (folder / f"{name}.json").unlink()
