"""littlefs volumes, as the board's own MicroPython would have formatted and filled them.

Owns the geometry: block size and count are exactly those of the board's stock firmware (an RP2040
silently reformats on a mismatch, an ESP32 stops), and the cache is computed as MicroPython does,
because files up to its size are stored inside their folder and could not be read with a smaller
one. The same files give the same bytes.
"""

import importlib.metadata
from typing import TYPE_CHECKING

from outpost.boards import Board
from outpost.errors import ExitCode, OutpostError

if TYPE_CHECKING:
    from littlefs import LittleFS

# Littlefs 2.0: read by every MicroPython since 1.12, upgraded on the first write by those that
# know 2.1.
_DISK_VERSION = 0x00020000
_LOOKAHEAD_BYTES = 32
_NO_SPACE = -28


def _fill(board: Board, files: dict[str, bytes]) -> "LittleFS":
    from littlefs import LittleFS, LittleFSError

    flash = board.filesystem
    cache = min(flash.block_bytes, 4 * max(flash.read_bytes, flash.prog_bytes))  # vfs_lfsx.c:102
    volume = LittleFS(
        block_size=flash.block_bytes,
        block_count=flash.block_count,
        read_size=flash.read_bytes,
        prog_size=flash.prog_bytes,
        cache_size=cache,
        lookahead_size=_LOOKAHEAD_BYTES,
        disk_version=_DISK_VERSION,
    )
    try:
        for path in sorted(files):
            volume.makedirs(path.rpartition("/")[0] or "/", exist_ok=True)
            with volume.open(path, "wb") as handle:
                handle.write(files[path])
    except LittleFSError as error:
        if error.code != _NO_SPACE:
            raise
        total = sum(map(len, files.values()))
        message = f"{total} bytes in {len(files)} files do not fit {board.name}"
        fix = f"it has {flash.bytes // 1024} KiB of filesystem"
        raise OutpostError("volume-full", message, fix, ExitCode.USAGE) from error
    return volume


def format_image(board: Board, files: dict[str, bytes]) -> bytes:
    """The board's whole filesystem holding `files` ({absolute path: content})."""
    volume = _fill(board, files)
    volume.unmount()
    image = bytes(volume.context.buffer)
    if len(image) != board.filesystem.bytes:
        message = f"the image has {len(image)} bytes, not {board.filesystem.bytes}"
        raise OutpostError("image-size", message)
    return image


def used_blocks(board: Board, files: dict[str, bytes]) -> int:
    """Blocks of the board's filesystem that `files` take, the root folder's two included.

    Measured, because a rule of thumb (a block for each file) is a fifth too much: littlefs keeps
    small files inside their folder, how small depends on the port's program size.
    """
    used: int = _fill(board, files).used_block_count
    return used


def tool_version() -> str:
    """The littlefs-python that writes volumes: part of what makes them reproducible."""
    return importlib.metadata.version("littlefs-python")
