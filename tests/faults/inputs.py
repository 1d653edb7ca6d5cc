"""Everything a sweep needs that has to be signed or compressed: keys, releases, the update
repository, factory files.

Made anew for each run on the host and handed to the VM as one CBOR file, in the loader's own CBOR.
Contents are pseudo-random from a fixed seed, so that operation numbers, and with them the ids of
failures, mean the same next time; only the signatures differ.
"""

import hashlib
import zlib
from binascii import hexlify
from pathlib import Path
from typing import Any

from loader import cbor
from outpost.boards import load_board
from outpost.signing import cose, documents
from outpost.signing.documents import Role
from outpost.signing.keys import SigningKey

HEAD = "stable"
OTA_BOARD = "esp32_generic_ota"
IMAGE_BYTES = 6 * 4096 + 1000  # as in tests/faults/vm/ota.py
BOARDS = ("rpi_pico_w", "esp32_generic")
_BUDGET = 200_000
_FAR = 4_000_000_000


def noise(name: str, size: int) -> bytes:
    """Bytes that compress to about 60 %, the same for the same name."""
    out = bytearray()
    while len(out) < size:
        part = hashlib.sha256(f"{name}{len(out)}".encode()).digest()
        out += part[:20] + b"firmware/nod"
    return bytes(out[:size])


OTA_SCENARIOS = {"runtime": "new", "runtime-rollback": "bad"}  # name -> target


class Keys:
    """A root of two of three, a second root with other head and release keys, and the signers."""

    def __init__(self) -> None:
        self.roots = [SigningKey.generate() for _ in range(2)]
        self.release, self.head = SigningKey.generate(), SigningKey.generate()
        self.head2 = SigningKey.generate()

    def root(self, version: int) -> bytes:
        head = self.head if version == 1 else self.head2
        roles = {
            "root": Role(2, tuple(key.public for key in self.roots)),
            "release": Role(1, (self.release.public,)),
            "head": Role(1, (head.public,), version - 1),
            "ops": Role(1, (self.roots[0].public,)),
        }
        return cose.sign("root", documents.root(version, roles), *self.roots)


def _release(
    keys: Keys, version: str, epoch: int, files: dict[str, bytes], runtime: bytes = b""
) -> tuple[bytes, bytes]:
    """(document, digest) of a release; with `runtime` it brings that image."""
    fields: dict[str, Any] = {
        "product": "sweep",
        "version": version,
        "epoch": epoch,
        "boards": {name: [] for name in (*BOARDS, OTA_BOARD)},
        "chips": ["rp2040", "esp32"],
        "mpy": 6,
        "micropython": [1, 20, 0],
        "loader": 1,
        "budget": _BUDGET,
        "health": {"deadline_s": 60, "publishes": 1, "heap_floor": 1000, "connected": True},
        "config": bytes(32),
        "sbom": bytes(32),
        "source": "sweep",
    }
    if runtime:
        fields["runtime"] = {
            "board": OTA_BOARD,
            "build": runtime[:16].rstrip(b"\0").decode(),
            "mpy": 6,
            "micropython": [1, 25, 0],
            "size": len(runtime),
            "sha256": hashlib.sha256(runtime).digest(),
            "chunks": "chunks",
        }
        files["chunks"] = b"".join(hashlib.sha256(part).digest() for part in _chunks(runtime))
    table = [(path, len(data), hashlib.sha256(data).digest()) for path, data in files.items()]
    payload = documents.release(fields, table)
    return cose.sign("release", payload, keys.release), documents.digest(payload)


def _chunks(image: bytes) -> list[bytes]:
    return [image[at : at + 4096] for at in range(0, len(image), 4096)]


def runtime_image(build: str, changed: int) -> bytes:
    """An image as tests/faults/vm/ota.py takes it; the last `changed` chunks are this build's
    own.
    """
    own = IMAGE_BYTES - 32 - changed * 4096
    body = noise("runtime", own)[16:] + noise(build, IMAGE_BYTES - 32 - own)
    image = build.encode().ljust(16, b"\0") + body
    return image + hashlib.sha256(image).digest()


def _compress(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 12)
    return packer.compress(data) + packer.flush()


def _files(small: bool) -> dict[str, dict[str, bytes]]:
    """The files of four releases: one long past, one running, a good and a bad new one."""
    if small:
        old = {"node/main.mpy": noise("main", 600), "a.mpy": noise("a", 300)}
        past = {"node/main.mpy": noise("past", 500), "a.mpy": noise("a", 300)}
        new = {"node/main.mpy": noise("main2", 700), "a.mpy": noise("a", 300)}
        bad = {"node/main.mpy": noise("bad", 700), "a.mpy": noise("a", 300)}
        return {"past": past, "old": old, "new": new, "bad": bad}
    old = {
        "node/main.mpy": noise("main", 2500),
        "node/core/big.mpy": noise("big", 9000),
        "node/core/same.mpy": noise("same", 6000),
        "node/drivers/moves.mpy": noise("moves", 1500),
        "gone.mpy": noise("gone", 800),
        "schema.cbor": noise("schema", 90),
    }
    past = dict(
        old, **{"node/main.mpy": noise("past", 2000), "deep/er/x.mpy": noise("back", 1200)}
    )
    del past["node/core/same.mpy"]  # so that there is something to copy from the running slot
    new = dict(old)
    del new["gone.mpy"], new["node/drivers/moves.mpy"]
    new.update(
        {
            "node/main.mpy": noise("main2", 2600),
            "node/core/big.mpy": noise("big2", 16000),  # more than one block on the wire
            "node/sensors/moves.mpy": noise("moves", 1500),  # renamed: in the running slot
            "node/x.mpy": noise("back", 1200),  # moved: in the staging slot
            "node/twin.mpy": noise("main2", 2600),  # twice the same content
            "node/tasks/added.mpy": noise("added", 500),
            "schema.cbor": noise("schema2", 90),  # same path, same size
        }
    )
    bad = dict(new, **{"node/main.mpy": noise("bad", 700)})
    return {"past": past, "old": old, "new": new, "bad": bad}


def _repository(
    keys: Keys, releases: dict[str, Any], target: str, rotated: bool
) -> dict[str, bytes]:
    """What the server has: {path: bytes}. With `rotated` the head is signed under root 2 only."""
    version = 2 if rotated else 1
    payload = documents.head(HEAD, releases[target]["digest"], 7, (1, _FAR), version)
    signer = keys.head2 if rotated else keys.head
    paths = {f"/update/heads/{HEAD}.cose": cose.sign("head", payload, signer)}
    if rotated:
        paths["/update/roots/2.cose"] = keys.root(2)
    for release in releases.values():
        name = hexlify(release["digest"]).decode()
        paths[f"/update/releases/{name}.cose"] = release["document"]
        for data in release["files"].values():
            paths[f"/update/blobs/{hashlib.sha256(data).hexdigest()}"] = _compress(data)
    return paths


def _board(name: str, small: bool) -> dict[str, Any]:
    board = load_board(name)
    filesystem = board.filesystem
    facts = {
        "product": "sweep",
        "board": name,
        "chip": board.chip.name,
        "hw": 1,
        "slot_budget": _BUDGET,
        "wdt_ms": 8000,
        "runtime_max": 7 * 4096,
    }
    blocks = filesystem.bytes // filesystem.block_bytes
    return {
        "blocks": min(blocks, 40) if small else blocks,
        "prog": filesystem.prog_bytes,
        "port": board.chip.port,
        "facts": cbor.encode(facts),
    }


# name -> (target release, first boot from the factory image, trust root rotated meanwhile)
SCENARIOS = {
    "update": ("new", False, False),
    "factory": ("new", True, True),
    "rollback": ("bad", False, False),
}


def build(small: bool = False, keys: Keys | None = None) -> dict[str, Any]:
    """The inputs of a sweep."""
    keys = keys or Keys()
    releases = {}
    for name, (version, epoch) in {
        "past": ("0.9", 1),
        "old": ("1.0", 1),
        "new": ("1.1", 2),
        "bad": ("1.2", 2),
    }.items():
        files = _files(small)[name]
        document, digest = _release(keys, version, epoch, files)
        releases[name] = {"document": document, "digest": digest, "files": files, "epoch": epoch}
    return {
        "root": keys.root(1),
        "releases": releases,
        "boards": {name: _board(name, small) for name in BOARDS},
        "scenarios": {
            name: {
                "target": target,
                "factory": factory,
                "server": _repository(keys, releases, target, rotated),
            }
            for name, (target, factory, rotated) in SCENARIOS.items()
        },
    }


def build_ota(keys: Keys) -> dict[str, Any]:
    """The inputs of the stories with a runtime."""
    images = {"1": runtime_image("runtime-1", 1), "2": runtime_image("runtime-2", 3)}
    releases: dict[str, Any] = {}
    for name, (version, epoch, runtime) in {
        "old": ("1.0", 1, "1"),
        "new": ("1.1", 2, "2"),
        "bad": ("1.2", 2, "2"),
    }.items():
        files = {"node/main.mpy": noise(name, 700), "a.mpy": noise("a", 300)}
        image = images[runtime]
        document, digest = _release(keys, version, epoch, files, image)
        releases[name] = {"document": document, "digest": digest, "files": files}
        releases[name].update(epoch=epoch, build=f"runtime-{runtime}")
    scenarios = {}
    for name, target in OTA_SCENARIOS.items():
        server = _repository(keys, releases, target, False)
        for part in _chunks(images["2"]):
            server[f"/update/blobs/{hashlib.sha256(part).hexdigest()}"] = _compress(part)
        scenario = {"target": target, "factory": True, "server": server, "image": images["1"]}
        scenarios[name] = scenario
    return {
        "root": keys.root(1),
        "releases": releases,
        "boards": {OTA_BOARD: _board(OTA_BOARD, True)},
        "scenarios": scenarios,
    }


def make_ota(folder: Path, keys: Keys) -> Path:
    path = folder / "ota.cbor"
    path.write_bytes(cbor.encode(build_ota(keys)))
    return path


def make(folder: Path, small: bool = False, keys: Keys | None = None) -> Path:
    """Write the inputs of a sweep to `folder`; the path of the file."""
    path = folder / ("small.cbor" if small else "full.cbor")
    path.write_bytes(cbor.encode(build(small, keys)))
    return path
