"""A static update server and an updating device on the VM, for tests of the whole way over real
sockets.

The server is as dumb as a CDN: files by path, with ranges. A test may give a path a `trick`, a
function that answers instead of it, to make a hostile one.
"""

import hashlib
import os
import subprocess
import threading
import zlib
from binascii import hexlify
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from littlefs import LittleFS
from loader import cbor, layout
from outpost.boards import load_board
from outpost.build.compile import LOADER_LEVEL, NODE_LEVEL, compile_all
from outpost.build.volume import format_image
from outpost.paths import vm_path
from outpost.signing import cose, documents

ROOT = Path(__file__).resolve().parents[2]
HEAD = "stable"
FAR = 4_000_000_000

Trick = Callable[[BaseHTTPRequestHandler, bytes], None]


def compress(data: bytes, wbits: int = 10) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return packer.compress(data) + packer.flush()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Http"

    def do_GET(self) -> None:  # noqa: N802 - the base class's name
        web = self.server.web
        web.requests.append(self.path)
        web.wire_bytes += len(self.raw_requestline) + len(self.headers.as_bytes())
        trick = web.tricks.get(self.path)
        body = web.paths.get(self.path)
        if trick is not None:
            trick(self, body or b"")
        elif body is None:
            self.answer(404, b"")
        else:
            self.serve(body)

    def serve(self, body: bytes) -> None:
        """An honest answer, in part when a part was asked for."""
        span = self.headers.get("Range")
        if span is None:
            self.answer(200, body, {"ETag": f'"{hashlib.sha256(body).hexdigest()[:16]}"'})
            return
        first, _, last = span[6:].partition("-")
        start, end = int(first), min(int(last or len(body)) + 1, len(body))
        if start >= len(body):
            self.answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
        else:
            fields = {"Content-Range": f"bytes {start}-{end - 1}/{len(body)}"}
            self.answer(206, body[start:end], fields)

    def answer(self, status: int, body: bytes, fields: Mapping[str, str] | None = None) -> None:
        self.send_response(status)  # with Server and Date, as a CDN sends
        self.send_header("Content-Length", str(len(body)))
        for name, value in (fields or {}).items():
            self.send_header(name, value)
        self.server.web.wire_bytes += len(b"".join(self._headers_buffer)) + 2 + len(body)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    web: "Web"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a device that hangs up in the middle is what these tests are about


@dataclass
class Web:
    """What a server has, and what it was asked."""

    paths: dict[str, bytes]
    tricks: dict[str, Trick] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    wire_bytes: int = 0

    @contextmanager
    def running(self) -> Iterator[str]:
        """The base URL, while the server runs."""
        with _Http(("127.0.0.1", 0), _Handler) as server:
            server.web = self
            thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_address[1]}/update"
            finally:
                server.shutdown()
                thread.join()


class Publisher:
    """Signs releases and heads and lays them out as an update repository."""

    def __init__(self, keys: Any, product: str = "sweep") -> None:
        self.keys = keys
        self.product = product
        self.paths: dict[str, bytes] = {}

    def release(self, files: Mapping[str, bytes], **changes: Any) -> tuple[bytes, bytes]:
        """Publish a release; (document, digest). `changes` replace fields of its payload."""
        fields: dict[str, Any] = {
            "product": self.product,
            "version": "1.0",
            "epoch": 1,
            "boards": {"rpi_pico_w": [], "esp32_generic": []},
            "chips": ["rp2040", "esp32"],
            "mpy": 6,
            "micropython": [1, 20, 0],
            "loader": 1,
            "budget": 400_000,
            "health": {"deadline_s": 60, "publishes": 1, "heap_floor": 1000, "connected": True},
            "config": bytes(32),
            "sbom": bytes(32),
            "source": "test",
        }
        fields.update(changes)
        signer = fields.pop("signer", self.keys.release)
        table = [(path, len(data), hashlib.sha256(data).digest()) for path, data in files.items()]
        payload = documents.release(fields, table)
        document, digest = cose.sign("release", payload, signer), documents.digest(payload)
        self.paths[f"/update/releases/{digest.hex()}.cose"] = document
        for data in files.values():
            name = hexlify(hashlib.sha256(data).digest()).decode()
            self.paths[f"/update/blobs/{name}"] = compress(data)
        return document, digest

    def head(self, digest: bytes, sequence: int = 1, **changes: Any) -> bytes:
        """Publish a head; `changes`: name, period, root, signer."""
        name = changes.get("name", HEAD)
        period = changes.get("period", (1, FAR))
        payload = documents.head(name, digest, sequence, period, changes.get("root", 1))
        document = cose.sign("head", payload, changes.get("signer", self.keys.head))
        self.paths[f"/update/heads/{HEAD}.cose"] = document
        return document


@dataclass
class Outcome:
    """How a check on the device ended, from the lines it printed."""

    outcome: str
    code: str
    fetched: int
    blobs: int
    idle_bytes: int
    loaded_bytes: int
    free_bytes: int
    reports: list[str]
    frozen: bool
    text: str


def read_image(board: Any, image: bytes) -> dict[str, bytes]:
    """Every file of a filesystem image."""
    flash = board.filesystem
    volume = LittleFS(
        block_size=flash.block_bytes,
        block_count=flash.block_count,
        read_size=flash.read_bytes,
        prog_size=flash.prog_bytes,
        cache_size=4 * max(flash.read_bytes, flash.prog_bytes),
        mount=False,
    )
    volume.context.buffer = bytearray(image)
    volume.mount()
    found = {}
    for folder, _, names in volume.walk("/"):
        for name in names:
            path = f"{folder.rstrip('/')}/{name}"
            with volume.open(path, "rb") as file:
                found[path] = file.read()
    return found


class Device:
    """A flash image in a file, and the VM that runs a check from it."""

    def __init__(self, folder: Path, board: str = "rpi_pico_w", bits: int = 64) -> None:
        self.folder = folder
        self.board = load_board(board)
        self.bits = bits
        self.flash = folder / "flash.img"
        self._mpy = folder / "mpy"

    def compile(self) -> "Device":
        """The firmware as bytecode, as it is on a device."""
        for part, level in (("loader", LOADER_LEVEL), ("node", NODE_LEVEL)):
            firmware = ROOT / "firmware"
            sources = {
                path.relative_to(firmware).as_posix(): path
                for path in firmware.rglob(f"{part}/**/*.py")
            }
            for name, data in compile_all(sources, level).items():
                target = self._mpy / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
        return self

    def manufacture(
        self, root: bytes, document: bytes, files: Mapping[str, bytes], **changes: Any
    ) -> None:
        """The factory image: this release in /a, nothing in /b. `changes`: facts of the board, and
        `record`, what the boot record says.
        """
        record = changes.pop("record", None)
        board = {
            "product": "sweep",
            "board": self.board.name,
            "chip": self.board.chip.name,
            "hw": 1,
            "slot_budget": 400_000,
            "wdt_ms": 0,
            **changes,
        }
        contents = {layout.BOARD: cbor.encode(board), layout.ROOT: root}
        contents["/a/" + layout.MANIFEST] = document
        contents.update({f"/a/{path}": data for path, data in files.items()})
        if record:
            body = cbor.encode(record)
            contents[layout.RECORD] = hashlib.sha256(body).digest()[:8] + body
        self.flash.write_bytes(format_image(self.board, contents))

    def tree(self) -> dict[str, bytes]:
        """Every file on the flash."""
        return read_image(self.board, self.flash.read_bytes())

    def check(self, url: str, heap: str = "512k", **settings: int) -> Outcome:
        """Boot and run one check. `settings`: now (Unix s), speed (of the device's time)."""
        filesystem = self.board.filesystem
        command = [str(vm_path(self.bits, ROOT)), "-X", f"heapsize={heap}"]
        command += [str(ROOT / "tests/sim/vm/update_node.py"), str(self.flash)]
        command += [str(filesystem.block_bytes), str(filesystem.prog_bytes), url, HEAD]
        command.append(str(self._mpy if self._mpy.is_dir() else ROOT / "firmware"))
        environment = dict(os.environ)
        environment.update({f"OUTPOST_{name.upper()}": str(v) for name, v in settings.items()})
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=False, env=environment
        )
        return _outcome(run.stdout + run.stderr)


def _outcome(text: str) -> Outcome:
    found = {"@idle": "0", "@loaded": "0", "@free": "0", "@end": "died - 0 0"}
    reports = []
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "@report":
            reports.append(rest.strip())
        elif word in found:
            found[word] = rest
    outcome, code, fetched, blobs = found["@end"].split()
    code = "" if code == "-" else code
    heap = [int(found[word]) for word in ("@idle", "@loaded", "@free")]
    return Outcome(
        outcome, code, int(fetched), int(blobs), *heap, reports, "@frozen" in text, text
    )
