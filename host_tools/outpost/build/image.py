"""Factory images: what lies on a board's filesystem when it leaves the bench.

Owns the choice of files and the division of the space: loader and state, outbox, and two slots
that must both hold the release. An image is refused, with figures, when they do not, or when the
device's own code would refuse the release. Nothing device-specific or secret is in an image:
identity comes by provisioning.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loader import cbor, layout, trust
from loader.cbor import VerifyError

from outpost.boards import Board, load_board
from outpost.build import configure
from outpost.build import release as building
from outpost.build.volume import format_image, used_blocks
from outpost.errors import ExitCode, OutpostError

# Blocks kept for what grows on the device: /data without the outbox (identity, state, counters),
# boot record, evidence, and one block for each of the two copy-on-write files that may be open.
_STATE_BLOCKS = 14


@dataclass(frozen=True)
class Room:
    """Where the blocks of a board's filesystem go: blocks throughout, measured on a volume."""

    total: int
    fixed: int
    """Root folder, loader, trust root, and what grows in /data."""
    outbox: int
    slot: int
    """What this release takes on this board."""
    budget: int
    """What it says it takes: measured on the smallest of the product's boards, whose larger
    program size lets littlefs keep more files inside their folders."""

    @property
    def slot_budget(self) -> int:
        """Blocks that a release may say it takes and still fit twice."""
        each = (self.total - self.fixed - self.outbox) // 2
        return max(0, each - max(0, self.slot - self.budget))

    @property
    def spare(self) -> int:
        """Blocks left when both slots hold this release, or negative."""
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
    slot = _below(layout.SLOTS[0], building.read_tree(build_dir / "files"))
    slot[f"{layout.SLOTS[0]}/{layout.MANIFEST}"] = manifest
    device = _below("", building.read_tree(build_dir / "device"))
    device[layout.ROOT] = root_document
    space = room(board, figures, (device, slot))
    facts = board_facts(
        board, figures["product"], hardware, space.slot_budget * board.filesystem.block_bytes
    )
    _check_fit(parsed, facts, root_document, space)
    files = {**device, **slot, layout.BOARD: cbor.encode(facts)}
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


Files = dict[str, bytes]


def room(board: Board, figures: dict[str, Any], files: tuple[Files, Files]) -> Room:
    """How the board's filesystem is divided; `files`: what is outside the slots, and in one."""
    device, slot = files
    fixed = used_blocks(board, {**device, layout.BOARD: bytes(128)})
    outbox_bytes = int(figures["outbox_kib"]) * 1024
    return Room(
        total=board.filesystem.block_count,
        fixed=fixed + _STATE_BLOCKS,
        outbox=-(-outbox_bytes // board.filesystem.block_bytes),
        slot=used_blocks(board, {**device, **slot, layout.BOARD: bytes(128)}) - fixed,
        budget=int(figures["budget"]) // board.filesystem.block_bytes,
    )


def _below(folder: str, files: Files) -> Files:
    return {f"{folder}/{path}": data for path, data in files.items()}


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
        kib = load_board(facts["board"]).filesystem.block_bytes // 1024
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
