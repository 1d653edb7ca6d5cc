"""Where things are: the project a command runs in, and the tools its set-up put under
`.tools/bin`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from outpost.errors import ExitCode, OutpostError

_MARKS = ("pyproject.toml", "firmware", "boards")


def _is_root(folder: Path) -> bool:
    return all((folder / mark).exists() for mark in _MARKS)


def project_root(start: Path | None = None) -> Path:
    """The checkout: $OUTPOST_ROOT, else a parent of `start`, else the one this package was
    installed from."""
    given = os.environ.get("OUTPOST_ROOT")
    if given:
        return Path(given).resolve()
    here = Path(__file__).resolve()
    origins = [start.resolve()] if start else []
    for origin in [*origins, here]:
        for folder in (origin, *origin.parents):
            if _is_root(folder):
                return folder
    raise OutpostError(
        "no-project",
        "this is not an Outpost checkout",
        "run it inside one, or set OUTPOST_ROOT",
        ExitCode.USAGE,
    )


def tools_dir(root: Path | None = None) -> Path:
    """The private tool folder; nothing outside it is written by the set-up, bar the virtual
    environment."""
    return (root or project_root()) / ".tools"


def find_tool(name: str, root: Path | None = None) -> Path | None:
    """The tool that the set-up chose, else the one beside this Python, else the one on PATH."""
    for folder in (tools_dir(root) / "bin", (root or project_root()) / ".venv" / "bin"):
        if os.access(folder / name, os.X_OK):
            return folder / name
    found = shutil.which(name)
    return Path(found) if found else None


def tool_path(name: str, root: Path | None = None) -> Path:
    """Like `find_tool`, and an error that says what to do when there is none."""
    found = find_tool(name, root)
    if found is None:
        message = f"{name} is missing"
        raise OutpostError("tool-missing", message, "make setup", ExitCode.USAGE)
    return found


def vm_path(bits: int = 64, root: Path | None = None) -> Path:
    """The MicroPython VM of the given word size."""
    return tool_path("micropython" if bits == 64 else "micropython32", root)
