"""Writing a factory image, and the runtime with it, to a board.

Owns the plan (which program with which arguments; nothing is run to make it) and carrying it out.
esptool and picotool are called as programs. `--dry-run` shows exactly the plan that would be
carried out.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from outpost.boards import Board
from outpost.errors import ExitCode, OutpostError
from outpost.factory import uf2

# Where the boot ROM looks for the second-stage loader that a combined MicroPython .bin begins
# with.
_RUNTIME_OFFSETS = {"esp32": 0x1000}
_BAUD = 460800


@dataclass(frozen=True)
class FlashPlan:
    """What flashing a board will do."""

    board: str
    port: str
    commands: tuple[tuple[str, ...], ...]
    """Programs with their arguments, in order."""
    copy_to: Path | None = None
    """A mounted BOOTSEL drive that `file` is copied to instead."""
    file: Path | None = None
    """A UF2 that is written, with `content`, before anything is run."""
    content: bytes = field(default=b"", repr=False)

    def lines(self) -> list[str]:
        """The plan for people."""
        shown = [" ".join(command) for command in self.commands]
        return [*shown, f"copy {self.file} to {self.copy_to}"] if self.copy_to else shown


def plan_flash(
    board: Board, image: Path, port: str, runtime: Path | None = None, baud: int = _BAUD
) -> FlashPlan:
    """How `image` (and the runtime) gets on `board` at `port` (for an RP2040: a mounted drive, or
    "picotool")."""
    if image.stat().st_size != board.filesystem.bytes:
        message = (
            f"{image} has {image.stat().st_size} bytes, {board.name} {board.filesystem.bytes}"
        )
        raise OutpostError("image-size", message, "use this board's image", ExitCode.USAGE)
    if board.chip.port == "esp32":
        return _plan_esp32(board, image, port, (runtime, baud))
    return _plan_rp2(board, image, port, runtime)


def _plan_esp32(
    board: Board, image: Path, port: str, options: tuple[Path | None, int]
) -> FlashPlan:
    runtime, baud = options
    regions: list[str] = []
    if runtime is not None:
        regions += [hex(_RUNTIME_OFFSETS.get(board.chip.name, 0)), os.fspath(runtime)]
    regions += [hex(board.filesystem.offset), os.fspath(image)]
    # esptool compares the MD5 that the chip computes over what it wrote: no separate verification.
    tool = (sys.executable, "-m", "esptool", "--chip", board.chip.name, "--port", port)
    command = (*tool, "--baud", str(baud), "write-flash", "--no-progress", *regions)
    return FlashPlan(board.name, port, (command,))


def _plan_rp2(board: Board, image: Path, port: str, runtime: Path | None) -> FlashPlan:
    target = image.with_suffix(".uf2")
    pages = uf2.encode(image.read_bytes(), uf2.FLASH_BASE + board.filesystem.offset)
    if runtime is not None:
        pages = uf2.join(runtime.read_bytes(), pages)
    if port == "picotool":
        command = ("picotool", "load", "--verify", "--execute", os.fspath(target))
        return FlashPlan(board.name, port, (command,), None, target, pages)
    drive = Path(port)
    if not (drive / "INFO_UF2.TXT").exists():
        message = f"{port} is no drive of a board in BOOTSEL mode"
        fix = "hold BOOTSEL while plugging in, then name the drive's folder, or --port picotool"
        raise OutpostError("no-bootsel", message, fix, ExitCode.DEVICE_NOT_FOUND)
    return FlashPlan(board.name, port, (), drive, target, pages)


def run_flash(plan: FlashPlan, on_line: Callable[[str], None] | None = None) -> None:
    """Carry out the plan; OutpostError when a program fails."""
    if plan.file is not None:
        plan.file.write_bytes(plan.content)
    for command in plan.commands:
        _run(command, on_line)
    if plan.copy_to is not None and plan.file is not None:
        try:
            shutil.copyfile(plan.file, plan.copy_to / plan.file.name)
        except OSError as error:
            message = f"copying to {plan.copy_to} failed: {error}"
            raise OutpostError("flash-copy", message, "repeat", ExitCode.LINK_LOST) from error


def _run(command: tuple[str, ...], on_line: Callable[[str], None] | None) -> None:
    try:
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
    except FileNotFoundError:
        message = f"{command[0]} is not installed"
        fix = f"install {command[0]}, or use the BOOTSEL drive"
        raise OutpostError("tool-missing", message, fix, ExitCode.USAGE) from None
    assert child.stdout is not None
    last = ""
    with child:
        for line in child.stdout:
            last = line.strip() or last
            if on_line:
                on_line(line.rstrip())
    if child.returncode:
        raise _explained(command, child.returncode, last)


def _explained(command: tuple[str, ...], code: int, last: str) -> OutpostError:
    """esptool: 1 is a lost link, 2 anything it refused or could not find."""
    tool = Path(command[2] if command[1:2] == ("-m",) else command[0]).name
    message = f"{tool} ended with {code}: {last}"
    if code == 1:
        return OutpostError("link-lost", message, "check the cable and repeat", ExitCode.LINK_LOST)
    fix = "hold BOOT while it connects, and check board and port"
    return OutpostError("flash-refused", message, fix, ExitCode.DEVICE_NOT_FOUND)
