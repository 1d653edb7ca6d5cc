"""What all tests share: the tools, a project of their own, the command line, and the count of
tests run on the VMs."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import once

ROOT = Path(__file__).resolve().parent.parent
_ONCE = pytest.StashKey[once.Once]()


# Files whose tests take longest go first, so that no worker is left with one of them at the end.
_SLOW = (
    "sim/test_failure_shapes.py",
    "sim/test_rotation.py",
    "sim/test_desired.py",
    "sim/test_wipe.py",
    "sim/test_month.py",
    "sim/test_commands.py",
    "sim/test_runtime_update.py",
    "sim/test_battery",
    "sim/test_mqtt",
    "faults/",
    "sim/",
    "host/",
)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_ONCE] = once.begin(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    once.end(config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    item.config.stash[_ONCE].fresh_for(item)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        path = item.path.relative_to(ROOT / "tests").as_posix()
        return next((at for at, name in enumerate(_SLOW) if path.startswith(name)), len(_SLOW))

    items.sort(key=rank)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout under test."""
    return ROOT


@pytest.fixture(scope="session")
def vms() -> dict[int, Path]:
    """The VMs by word size: the 64-bit one is required, the 32-bit one may be absent."""
    from outpost.paths import find_tool, vm_path

    narrow = find_tool("micropython32", ROOT)
    return {64: vm_path(64, ROOT), **({32: narrow} if narrow else {})}


@pytest.fixture(scope="session")
def vm(vms: dict[int, Path]) -> Path:
    """The 64-bit MicroPython VM; `make setup` brings it, so a missing one is an error, not a
    skip."""
    return vms[64]


@pytest.fixture(scope="session")
def vm32(vms: dict[int, Path]) -> Path:
    """The 32-bit VM; without one the test is skipped, and listed as such."""
    if 32 not in vms:
        pytest.skip("no 32-bit MicroPython VM on this machine: make setup says why")
    return vms[32]


@pytest.fixture(scope="session")
def mosquitto() -> Path:
    """The broker's program; `make setup` brings it, so a missing one is an error."""
    from outpost.paths import tool_path

    return tool_path("mosquitto", ROOT)


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function that gives a TCP port nobody listens on at 127.0.0.1."""

    def pick() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    return pick


@pytest.fixture
def tmp_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own in a temporary folder: copied sources, shared tools, OUTPOST_ROOT set
    to it."""
    home = tmp_path / "project"
    home.mkdir()
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*_cache")
    for name in ("firmware", "boards"):
        shutil.copytree(ROOT / name, home / name, ignore=skip)
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, home / name)
    (home / ".tools").symlink_to(ROOT / ".tools")
    monkeypatch.setenv("OUTPOST_ROOT", str(home))
    monkeypatch.chdir(home)
    return home


@dataclass(frozen=True)
class Invocation:
    """What one run of the command line did."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The one object that --json prints."""
        return json.loads(self.stdout)


@pytest.fixture
def outpost() -> Callable[..., Invocation]:
    """Call the command line in this process: outpost("doctor", "--json").exit_code."""
    from click.testing import CliRunner
    from outpost.cli.main import cli

    def invoke(*arguments: str, stdin: str | None = None) -> Invocation:
        done = CliRunner().invoke(cli, list(arguments), input=stdin)
        return Invocation(done.exit_code, done.stdout, done.stderr)

    return invoke


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many unit tests ran on each VM: pytest counts only the files."""
    counts: dict[str, int] = {}
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name in ("vm64", "vm32"):
                counts[name] = counts.get(name, 0) + value
    if counts:
        shown = ", ".join(f"{n} on the {vm[2:]}-bit VM" for vm, n in sorted(counts.items())[::-1])
        terminalreporter.write_line(f"unit tests run by MicroPython: {shown}")
