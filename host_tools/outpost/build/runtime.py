"""A MicroPython image (ESP32, application partition) that goes with a release.

What a device compares is taken from the image itself: the interpreter's `sys.version` is a string
in it. Nothing of it is typed in, so nothing can be mistyped.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from outpost.boards import Board
from outpost.errors import ExitCode, OutpostError

IMAGE = "runtime.bin"  # in a build folder, for `outpost publish`
TABLE = "runtime.sha256"  # in the slot: one SHA-256 for each chunk
_CHUNK = 4096
_MAGIC = 0xE9  # esp_image_format.h
_VERSION = re.compile(rb"(\d+\.\d+\.\d+; MicroPython v(\d+)\.(\d+)\.(\d+)[ -~]{0,100})\0")
# bytecode versions by the first MicroPython that executes them (docs.micropython.org, mpy files)
_BYTECODES = (((1, 19, 0), 6), ((1, 12, 0), 5))


@dataclass(frozen=True)
class Runtime:
    """An image and what it says of itself."""

    image: bytes
    board: str
    build: str
    micropython: tuple[int, int, int]

    @property
    def mpy(self) -> int:
        return next((mpy for first, mpy in _BYTECODES if self.micropython >= first), 0)

    @property
    def table(self) -> bytes:
        """One SHA-256 for each 4096 bytes."""
        starts = range(0, len(self.image), _CHUNK)
        return b"".join(hashlib.sha256(self.image[at : at + _CHUNK]).digest() for at in starts)

    @property
    def fields(self) -> dict[str, object]:
        """`runtime` of the release (layout.RUNTIME_FIELDS)."""
        return {
            "board": self.board,
            "build": self.build,
            "mpy": self.mpy,
            "micropython": list(self.micropython),
            "size": len(self.image),
            "sha256": hashlib.sha256(self.image).digest(),
            "chunks": TABLE,
        }


def load_runtime(path: Path, boards: list[Board]) -> Runtime:
    """The image in `path`, for the one board of a product; OutpostError when it cannot be."""
    try:
        image = path.read_bytes()
    except OSError as error:
        raise _refused(f"{path}: {error.strerror}", "name a MicroPython .bin") from None
    if len(boards) != 1:
        fix = "give the product one board, and build it once for each"
        raise _refused("a runtime is for one board, the product has several", fix)
    slots = [part.bytes for part in boards[0].partitions if part.name.startswith("ota_")]
    if not slots:
        fix = "use the OTA variant of the board, or leave --runtime out"
        raise _refused(f"{boards[0].name} has no partition to put a runtime in", fix)
    found = _VERSION.search(image)
    if not image or image[0] != _MAGIC or found is None:
        fix = "name the application image (micropython.bin), not the one with the bootloader"
        raise _refused(f"{path} is no MicroPython image for an ESP32", fix)
    if len(image) > min(slots):
        fix = f"the partition has {min(slots)} bytes"
        raise _refused(f"{path} has {len(image)} bytes", fix)
    major, minor, patch = (int(found[index]) for index in (2, 3, 4))
    return Runtime(image, boards[0].name, found[1].decode(), (major, minor, patch))


def _refused(message: str, fix: str) -> OutpostError:
    return OutpostError("runtime", message, fix, ExitCode.USAGE)
