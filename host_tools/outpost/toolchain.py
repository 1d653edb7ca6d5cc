"""The tools that are not Python packages: the MicroPython VMs and mosquitto, found or fetched, and
checked.

Invariants: nothing outside `.tools/` is written; a tool is in `.tools/bin` only after it ran and
answered with a new enough version; `.tools/state.json` says where each came from.  Files appear
under their final name by a rename, so an interrupted run leaves at worst something that the next
one replaces.

Only the standard library is used: `host_tools/bootstrap.py` runs this before there is a virtual
environment.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from outpost import debian
from outpost.errors import ExitCode, OutpostError

STATE_SCHEMA = 1
PROBE_TIMEOUT_S = 20
SBIN = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin", "/opt/homebrew/opt/mosquitto/sbin")

_VM_PROBE = (
    "import sys, ffi, uctypes, tls, vfs, asyncio, deflate, cryptolib; vfs.VfsLfs2; "
    "print('version %d.%d.%d' % sys.implementation[1][:3], 64 if sys.maxsize >> 32 else 32)"
)
# 32-bit counterparts that the same kernel usually runs.
_NARROW = {"amd64": "i386", "arm64": "armhf"}


@dataclass(frozen=True)
class Tool:
    """One tool: what it is called, how to ask for its version, and the least that will do."""

    name: str
    program: str
    package: str
    minimum: tuple[int, ...]
    probe: tuple[str, ...]
    pattern: str
    optional: bool = False
    bits: int | None = None


TOOLS = (
    Tool(
        "micropython",
        "micropython",
        "micropython",
        (1, 25),
        ("-c", _VM_PROBE),
        r"version (\S+) 64",
        bits=64,
    ),
    Tool(
        "micropython32",
        "micropython",
        "micropython",
        (1, 25),
        ("-c", _VM_PROBE),
        r"version (\S+) 32",
        optional=True,
        bits=32,
    ),
    Tool("mosquitto", "mosquitto", "mosquitto", (2, 0), ("-h",), r"mosquitto version (\S+)"),
)


@dataclass
class Found:
    """Where a tool is and came from; `missing` says why it is not there."""

    version: str = ""
    source: str = ""
    missing: str = ""


@dataclass
class State:
    """`.tools/state.json`: what the last set-up did."""

    environment: str = ""
    tools: dict[str, Found] = field(default_factory=dict)

    @classmethod
    def load(cls, file: Path) -> State:
        """The recorded state; anything unreadable counts as nothing done."""
        try:
            raw = json.loads(file.read_text())
            if raw["schema"] != STATE_SCHEMA:
                return cls()
            tools = {name: Found(**found) for name, found in raw["tools"].items()}
            return cls(raw["environment"], tools)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def save(self, file: Path) -> None:
        """Write it whole, by a rename."""
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps({"schema": STATE_SCHEMA, **asdict(self)}, indent=2) + "\n")
        part.replace(file)


def version_tuple(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: "1.25.0-preview" is (1, 25, 0)."""
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def probe(tool: Tool, program: Path) -> str:
    """The version of a program, or "" when it does not run or is not what is needed."""
    try:
        done = subprocess.run(
            [str(program), *tool.probe],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=PROBE_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    match = re.search(tool.pattern, done.stdout + done.stderr)
    return match.group(1) if match else ""


def new_enough(tool: Tool, version: str) -> bool:
    """Whether a version will do."""
    return version_tuple(version) >= tool.minimum


def _on_path(tool: Tool, own_bin: Path) -> Iterator[Path]:
    """Programs of that name outside `.tools`, in PATH's order, then where servers are kept."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *SBIN]
    for folder in dict.fromkeys(f for f in folders if f):
        program = Path(folder) / tool.program
        if Path(folder).resolve() != own_bin.resolve() and os.access(program, os.X_OK):
            yield program


class Toolchain:
    """Finds and fetches the tools of one checkout."""

    def __init__(self, root: Path, say: Callable[[str], None]) -> None:
        self._home = root / ".tools"
        self._bin = self._home / "bin"
        self._say = say
        self._archives: dict[str, debian.Archive] = {}
        self.state = State.load(self._home / "state.json")

    def settled(self, tool: Tool) -> bool:
        """Whether nothing needs doing for this tool; looks at files only, so that it is quick."""
        found = self.state.tools.get(tool.name)
        if found is None:
            return False
        if found.missing:
            return tool.optional
        return new_enough(tool, found.version) and os.access(self._bin / tool.name, os.X_OK)

    def save(self) -> None:
        """Keep what has been achieved so far."""
        self.state.save(self._home / "state.json")

    def obtain_all(self) -> None:
        """Get every tool that is not settled; an optional one may fail, and is said to have."""
        for tool in TOOLS:
            if not self.settled(tool):
                self.state.tools[tool.name] = self._obtain(tool)
                self.save()
        shutil.rmtree(self._home / "apt", ignore_errors=True)

    def _obtain(self, tool: Tool) -> Found:
        found = self._take_from_path(tool)
        if found:
            return found
        try:
            return self._fetch(tool)
        except OutpostError as error:
            if not tool.optional:
                raise
            self._say(f"  {tool.name}: not available ({_first_line(error.message)}); going on")
            return Found(missing=_first_line(error.message))

    def _take_from_path(self, tool: Tool) -> Found | None:
        for program in _on_path(tool, self._bin):
            version = probe(tool, program)
            if new_enough(tool, version):
                self._link(tool, program)
                self._say(f"  {tool.name} {version} from {program}")
                return Found(version, str(program))
        return None

    def _link(self, tool: Tool, program: Path) -> None:
        self._bin.mkdir(parents=True, exist_ok=True)
        part = self._bin / f".{tool.name}.part"
        part.unlink(missing_ok=True)
        part.symlink_to(program)
        part.replace(self._bin / tool.name)

    def _fetch(self, tool: Tool) -> Found:
        if not debian.available():
            raise _unfetchable(tool)
        host = debian.host_architecture()
        architecture = _NARROW.get(host, "") if tool.bits == 32 else host
        if not architecture:
            raise OutpostError("no-32-bit", f"{host} has no 32-bit counterpart")
        self._say(f"  {tool.name}: fetching the {architecture} package …")
        prefix = self._home / tool.name
        package_version = self._archive(architecture).unpack(tool.package, prefix)
        self._wrap(tool, prefix, package_version)
        version = probe(tool, self._bin / tool.name)
        if not new_enough(tool, version):
            (self._bin / tool.name).unlink()
            raise _unsuitable(tool, version or package_version, bool(version))
        self._say(f"  {tool.name} {version} from the package {package_version}")
        return Found(version, f"package {tool.package} {package_version} ({architecture})")

    def _archive(self, architecture: str) -> debian.Archive:
        if architecture not in self._archives:
            home = self._home / "apt" / architecture
            self._archives[architecture] = debian.Archive(home, architecture)
        return self._archives[architecture]

    def _wrap(self, tool: Tool, prefix: Path, version: str) -> None:
        """A script that becomes the program (exec keeps pid and signals) and leaves the
        environment alone."""
        loader, libraries = debian.loader_of(prefix)
        [program] = list(prefix.glob(f"usr/*bin/{tool.program}"))[:1]
        home = f'"$here/../{prefix.name}'
        self._bin.mkdir(parents=True, exist_ok=True)
        part = self._bin / f".{tool.name}.part"
        part.write_text(
            "#!/bin/sh\n"
            f"# {tool.package} {version}, unpacked from its packages by `make setup`.\n"
            "case $0 in */*) here=${0%/*} ;; *) here=. ;; esac\n"
            f'exec {home}/{loader}" --library-path {home}/{libraries}" \\\n'
            f'  {home}/{program.relative_to(prefix)}" "$@"\n'
        )
        part.chmod(0o755)
        part.replace(self._bin / tool.name)


def _first_line(text: str) -> str:
    return " ".join(text.split())[:200]


def remedy(tool: Tool) -> str:
    """The one command that brings a missing tool on this kind of machine."""
    if sys.platform == "darwin":
        return f"brew install {tool.package}"
    if debian.host_release()[0] == "ubuntu" and tool.package == "micropython":
        return f"{debian.MIRROR_VARIABLE}=<address of a Debian mirror> make setup"
    least = ".".join(str(n) for n in tool.minimum)
    return f"put {tool.program} >= {least} on PATH, then: make setup"


def _unfetchable(tool: Tool) -> OutpostError:
    message = f"{tool.name} is not on PATH, and there is no apt here to fetch it with"
    return OutpostError("tool-missing", message, remedy(tool), ExitCode.USAGE)


def _unsuitable(tool: Tool, version: str, runs: bool) -> OutpostError:
    least = ".".join(str(n) for n in tool.minimum)
    what = f"is older than {least}" if runs else f"({tool.bits or 'any'} bit) does not run here"
    message = f"{tool.package} {version} from this system's archive {what}"
    return OutpostError("tool-unsuitable", message, remedy(tool), ExitCode.USAGE)
