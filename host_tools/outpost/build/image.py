"""Factory images: a board's whole filesystem, as stock MicroPython mounts it.

Owns the image's geometry and what lies in it. Invariants: block size and count are exactly those
of the board's stock firmware (the RP2040's silently reformats on a mismatch, platform-facts
section 1); the cache is computed as MicroPython does, as files up to its size are stored inline
and could not be read with a smaller one; the same inputs give the same bytes. Nothing
device-specific or secret is in an image: identity comes by provisioning.
"""

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loader import cbor, layout, trust
from loader.cbor import VerifyError

from outpost.boards import Board, load_board
from outpost.build import configure
from outpost.build import release as building
from outpost.errors import ExitCode, OutpostError

# Littlefs 2.0: read by every MicroPython since 1.12, upgraded on the first write by those that
# know 2.1.
_DISK_VERSION = 0x00020000
_LOOKAHEAD_BYTES = 32

# Blocks kept for what grows on the device: /data without the outbox (identity, state, counters),
# boot record, evidence, and one block for each of the two copy-on-write files that may be open.
_STATE_BLOCKS = 16


@dataclass(frozen=True)
class Room:
    """Where the blocks of a filesystem go."""

    total: int
    fixed: int
    """Root folder, loader, trust root, state."""
    outbox: int
    slot: int
    """What this release takes, by its budget."""

    @property
    def slot_budget(self) -> int:
        """Bytes each of the two slots may take."""
        return max(0, (self.total - self.fixed - self.outbox) // 2) * building.BLOCK_BYTES

    @property
    def spare(self) -> int:
        """Blocks left when both slots hold a release of this size, or negative."""
        return self.total - self.fixed - self.outbox - 2 * self.slot


def factory_image(build_dir: Path, board_name: str, root: Path, hardware: int = 1) -> Path:
    """Write factory/<board>.img; the release must be signed so that `root` accepts it."""
    figures = building.read_build(build_dir)
    if board_name not in figures["boards"]:
        message = f"{figures['product']} is not built for {board_name}"
        fix = "choose one of: " + ", ".join(figures["boards"])
        raise OutpostError("board-not-built", message, fix, ExitCode.USAGE)
    board = load_board(board_name)
    root_document = root.read_bytes()
    manifest, parsed = _signed_release(build_dir, root_document)
    space = room(board, figures, build_dir)
    facts = board_facts(board, figures["product"], hardware, space.slot_budget)
    _check_fit(parsed, facts, root_document, space)
    files = {layout.BOARD: cbor.encode(facts), layout.ROOT: root_document}
    files.update(_tree(build_dir))
    files[f"{layout.SLOTS[0]}/{layout.MANIFEST}"] = manifest
    target = build_dir / "factory" / f"{board_name}.img"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(format_image(board, files))
    return target


def board_facts(board: Board, product: str, hardware: int, slot_budget: int) -> dict[str, Any]:
    """board.cbor: what the loader must know and a release must match."""
    facts: dict[str, Any] = {
        "product": product,
        "board": board.name,
        "chip": board.chip.name,
        "hw": hardware,
        "slot_budget": slot_budget,
        "wdt_ms": configure.watchdog_ms(board),
    }
    ota = [part.bytes for part in board.partitions if part.name.startswith("ota_")]
    if ota:
        facts["runtime_max"] = min(ota)
    return facts


def room(board: Board, figures: dict[str, Any], build_dir: Path) -> Room:
    """How the board's filesystem is divided for this product."""
    loader = building.slot_bytes(building.read_tree(build_dir / "loader")) // building.BLOCK_BYTES
    return Room(
        total=board.filesystem.block_count,
        fixed=loader + _STATE_BLOCKS,
        outbox=-(-int(figures["outbox_kib"]) * 1024 // building.BLOCK_BYTES),
        slot=int(figures["budget"]) // building.BLOCK_BYTES,
    )


def _tree(build_dir: Path) -> dict[str, bytes]:
    files = {
        f"/{name}": (building.REPOSITORY / "firmware" / name).read_bytes()
        for name in ("boot.py", "main.py")
    }
    files.update(
        {
            f"{layout.HOME}/{path}": data
            for path, data in building.read_tree(build_dir / "loader").items()
        }
    )
    slot = layout.SLOTS[0]
    files.update(
        {f"{slot}/{path}": data for path, data in building.read_tree(build_dir / "files").items()}
    )
    return files


def _signed_release(build_dir: Path, root_document: bytes) -> tuple[bytes, dict[str, Any]]:
    path = build_dir / "release.cose"
    if not path.exists():
        message = f"{build_dir} holds no signed release"
        raise OutpostError("not-signed", message, "run `outpost sign` on it first", ExitCode.USAGE)
    manifest = path.read_bytes()
    try:
        payload = trust.verify(trust.stored_root(root_document), "release", manifest)
        parsed = trust.parse_release(payload)
    except VerifyError as error:
        message = f"the device would refuse {path}: {error.code} {error.detail}".rstrip()
        raise OutpostError(
            error.code,
            message,
            "sign it with keys of this trust root",
            ExitCode.VERIFICATION_FAILED,
        ) from error
    if bytes(payload) != (build_dir / "release.cbor").read_bytes():
        message = f"{path} is the signature of another build"
        raise OutpostError(
            "digest", message, "sign this build's release.cbor", ExitCode.VERIFICATION_FAILED
        )
    return manifest, parsed


def _check_fit(
    parsed: dict[str, Any], facts: dict[str, Any], root_document: bytes, space: Room
) -> None:
    """Refuse with figures what would not fit; then let the device's own code judge the release."""
    if space.spare < 0:
        kib = building.BLOCK_BYTES // 1024
        message = (
            f"{facts['board']} has {space.total * kib} KiB of filesystem:"
            f" {space.fixed * kib} for loader and state, {space.outbox * kib} for the outbox,"
            f" twice {space.slot * kib} for the slots;"
            f" {-space.spare * kib} KiB too much"
        )
        raise OutpostError(
            "slot-budget", message, "use fewer drivers or lower outbox.max_kib", ExitCode.USAGE
        )
    era = trust.stored_root(root_document)["roles"]["release"][2]
    device = {
        **facts,
        "mpy": parsed["mpy"],
        "micropython": parsed["micropython"],
        "build": "",
        "floor": [era, 0],
        "failed": [],
        "era": era,
    }
    try:
        trust.check_release(parsed, device)
    except VerifyError as error:
        message = f"{facts['board']} would refuse this release: {error.code}"
        raise OutpostError(
            error.code, message, "correct product.toml or the board", ExitCode.USAGE
        ) from error


def format_image(board: Board, files: dict[str, bytes]) -> bytes:
    """A littlefs with `files` ({absolute path: content}), byte for byte the same each time."""
    from littlefs import LittleFS

    fs = board.filesystem
    disk = LittleFS(
        block_size=fs.block_bytes,
        block_count=fs.block_count,
        read_size=fs.read_bytes,
        prog_size=fs.prog_bytes,
        cache_size=min(
            fs.block_bytes, 4 * max(fs.read_bytes, fs.prog_bytes)
        ),  # extmod/vfs_lfsx.c:102
        lookahead_size=_LOOKAHEAD_BYTES,
        disk_version=_DISK_VERSION,
    )
    for path in sorted(files):
        disk.makedirs(path.rpartition("/")[0] or "/", exist_ok=True)
        with disk.open(path, "wb") as handle:
            handle.write(files[path])
    disk.unmount()
    image = bytes(disk.context.buffer)
    if len(image) != fs.bytes:
        raise OutpostError("image-size", f"the image has {len(image)} bytes, not {fs.bytes}", None)
    return image


def tool_version() -> str:
    """The littlefs-python that writes images: part of what makes them reproducible."""
    return importlib.metadata.version("littlefs-python")
