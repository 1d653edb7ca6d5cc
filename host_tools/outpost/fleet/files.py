"""Writing files so that a power cut leaves the old or the new one, and keeping secrets private."""

import fcntl
import os
import stat
import tempfile
from pathlib import Path
from typing import IO

from outpost.errors import ExitCode, OutpostError


def write_whole(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Replace the file in one step: write beside it, flush, rename."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_private(path: Path, content: bytes) -> None:
    write_whole(path, content, 0o600)


def lock(path: Path) -> IO[bytes]:
    """Hold `path` as long as the file returned is open; the kernel lets go when we die."""
    file = path.open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise OutpostError(
            "running",
            f"another server runs on {path.parent}",
            "stop it first",
            ExitCode.ALREADY_DONE,
        ) from None
    return file


def read_private(path: Path) -> bytes:
    """A secret that others may read is no secret: refused rather than used."""
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise OutpostError(
            "secret-open",
            f"{path} can be read by other users",
            f"chmod 600 {path}",
            ExitCode.USAGE,
        )
    return path.read_bytes()
