"""The loader's cost of a boot: a cold one verifies the signature, a wake from deep sleep its seal.

Measured on the VMs, on this machine's file system, with the weather product as it is built now.
The estimates for the chips are put together from three parts. A signature and each hashed byte by
instructions counted under qemu (Cortex-M0 for RP2040, M3 for ESP32; cycles per instruction from
upstream's published perf_bench scores). What is left, Python, is the 32-bit VM's milliseconds
times the ratio of those scores (pidigits). Reading the flash and the VM's own start are not in
them, nor is an ESP32's SHA hardware.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from loader import cbor
from outpost.boards import load_board
from outpost.build import image
from outpost.paths import find_tool, project_root, vm_path

from tests.host import signed_build

BOARD = "rpi_pico_w"
BATCHES = "5"
# milliseconds: of a signature (31.5 M and 19.5 M instructions), of a hashed KiB (106 and 61 per
# byte), and of Python for each of the 32-bit VM
CHIPS = {
    "RP2040 at 133 MHz, estimate": (402, 1.38, 122),
    "ESP32 at 240 MHz, estimate": (191, 0.61, 58),
}
NAMES = {
    "signature": "one PS256 signature",
    "manifest": "parse and check a manifest",
    "files": "read and hash the files of a slot",
    "sha": "of that, SHA-256 itself",
    "bytes": "bytes of the files",
    "document": "bytes of the manifest",
    "cold": "cold boot, to the application's import",
    "wake": "wake from deep sleep, to the application's import",
    "garbage": "heap used by a cold boot, without collection",
    "kept": "heap kept by it",
}


def filesystem(folder: Path) -> Path:
    """A device's files, in a folder."""
    made = signed_build.weather()
    facts = image.board_facts(load_board(BOARD), "weather", 1, 10**6)
    files = {
        "outpost/board.cbor": cbor.encode(facts),
        "outpost/root.cose": made.root.read_bytes(),
        "outpost/secret.bin": bytes(32),
        "a/manifest.cose": made.result.signed.read_bytes(),
    }
    source = made.result.folder / "files"
    for path in source.rglob("*"):
        if path.is_file():
            files[f"a/{path.relative_to(source).as_posix()}"] = path.read_bytes()
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def figures(vm: Path, base: Path) -> dict[str, float]:
    """{name: value} as the VM prints them."""
    script = Path(__file__).with_name("boot_vm.py")
    done = subprocess.run(
        [str(vm), "-X", "heapsize=1m", str(script), str(base), BATCHES],
        env={"MICROPYPATH": f".frozen:{project_root() / 'firmware'}"},
        check=True,
        capture_output=True,
        text=True,
    )
    return {
        name: float(value) for name, value in (row.split() for row in done.stdout.splitlines())
    }


def measure(arguments: list[str]) -> list[dict[str, Any]]:
    """Rows for `make bench`."""
    root = project_root()
    machines = {"64-bit VM": vm_path(64, root)}
    narrow = find_tool("micropython32", root)
    if narrow:
        machines["32-bit VM"] = narrow
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        base = filesystem(Path(folder))
        for who, vm in machines.items():
            found = figures(vm, base)
            rows += [_row(name, who, value) for name, value in found.items()]
            if who.startswith("32"):
                rows += _estimates(found)
    return rows


def _row(name: str, who: str, value: float) -> dict[str, Any]:
    unit = "B" if name in ("garbage", "kept", "bytes", "document") else "ms"
    return {"name": NAMES[name], "who": who, "value": value, "unit": unit}


def _estimates(found: dict[str, float]) -> list[dict[str, Any]]:
    rows = []
    for who, (signature_ms, kib_ms, factor) in CHIPS.items():
        files_ms = kib_ms * found["bytes"] / 1024
        document_ms = kib_ms * found["document"] / 1024
        python = found["cold"] - found["signature"] - found["sha"]
        # the document is hashed twice: for its digest, and under its signature
        cold = signature_ms + files_ms + 2 * document_ms + factor * python
        rows += [
            _row("signature", who, signature_ms),
            _row("files", who, files_ms + factor * (found["files"] - found["sha"])),
            _row("manifest", who, document_ms + factor * found["manifest"]),
            _row("cold", who, cold),
            _row("wake", who, document_ms + factor * found["wake"]),
        ]
    return rows
