"""`make lock`: requirements.lock from what the virtual environment holds."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"
HEAD = """\
# Every Python package of the virtual environment that make setup builds, with its exact version.
# Made by: make lock (after changing a version in pyproject.toml).
"""


def lock_text() -> str:
    """Every installed distribution but pip and this project, one line each."""
    pins = {d.name: d.version for d in importlib.metadata.distributions()}
    names = sorted((n for n in pins if n not in ("pip", "outpost")), key=str.lower)
    return HEAD + "".join(f"{name}=={pins[name]}\n" for name in names)


if __name__ == "__main__":
    LOCK.write_text(lock_text())
