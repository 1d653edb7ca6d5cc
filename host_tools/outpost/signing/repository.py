"""The update repository: a directory that any static server or CDN can serve as it is.

roots/<n>.cose, heads/<name>.cose, releases/<sha256 of the payload>.cose, blobs/<sha256 of the
content> (zlib). Invariants: a file appears whole or not at all; blobs come before the release that
needs them and the release before the head that names it, so a device never follows a reference to
something that is not there yet; publishing the same thing again changes nothing.
"""

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loader import cbor, trust
from loader.cbor import VerifyError

from ..errors import ExitCode, OutpostError
from .cose import replace

_CHUNK = 4096  # of a runtime image, as the device writes and verifies it
_WINDOW_BITS = 10  # 1 KiB on the device; 12 bits would save half a percent and cost 3 KiB there


def compress(content: bytes) -> bytes:
    """A blob as it travels."""
    packer = zlib.compressobj(9, zlib.DEFLATED, _WINDOW_BITS)
    return packer.compress(content) + packer.flush()


class Repository:
    """One such directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def _put(self, path: Path, data: bytes) -> bool:
        if path.exists() and path.read_bytes() == data:
            return False
        replace(path, data)
        return True

    def add_root(self, document: bytes) -> bool:
        version = trust.stored_root(document)["version"]
        return self._put(self.folder / "roots" / f"{version}.cose", document)

    def add_blob(self, content: bytes) -> bool:
        """Named by the SHA-256 of the content, whatever the compressor makes of it."""
        path = self.folder / "blobs" / hashlib.sha256(content).hexdigest()
        if path.exists():
            return False
        replace(path, compress(content))
        return True

    def add_release(self, document: bytes, files: Path) -> bool:
        """The release and its blobs; `files` is the folder its paths are relative to."""
        payload, _ = trust.unwrap("release", document)
        release = trust.parse_release(payload)
        changed = False
        for name, size, digest in release["files"]:
            content = (files / name).read_bytes()
            if len(content) != size or hashlib.sha256(content).digest() != digest:
                raise OutpostError(
                    "slot-hash",
                    f"{name} is not the file that was signed",
                    "build and sign again",
                    ExitCode.VERIFICATION_FAILED,
                )
            changed |= self.add_blob(content)
        if "runtime" in release:
            changed |= self._add_runtime(release["runtime"], files.parent / "runtime.bin")
        return (
            self._put(self.folder / "releases" / f"{release['digest'].hex()}.cose", document)
            or changed
        )

    def _add_runtime(self, runtime: dict[str, Any], image: Path) -> bool:
        """The MicroPython image that goes with a release: a blob for each 4096 bytes of it."""
        content = image.read_bytes()
        if hashlib.sha256(content).digest() != runtime["sha256"]:
            raise OutpostError(
                "runtime-hash",
                f"{image} is not the runtime that was signed",
                "put the image that the release names there",
                ExitCode.VERIFICATION_FAILED,
            )
        parts = [content[at : at + _CHUNK] for at in range(0, len(content), _CHUNK)]
        changed = [self.add_blob(part) for part in parts]
        return any(changed)

    def add_head(self, name: str, document: bytes) -> bool:
        trust.unwrap("head", document)
        if not name or len(name) > 64 or "/" in name or name.startswith("."):
            raise OutpostError(
                "head-name",
                f"{name!r} cannot be the name of a head",
                "use a channel or device id",
                ExitCode.USAGE,
            )
        return self._put(self.folder / "heads" / f"{name}.cose", document)


@dataclass(frozen=True)
class Plan:
    """What is to be published, verified."""

    roots: list[bytes]
    release: tuple[bytes, Path] | None
    heads: dict[str, bytes]
    manifest: dict[str, Any] | None

    @classmethod
    def verified(
        cls, roots: list[bytes], release: tuple[bytes, Path] | None, heads: list[bytes]
    ) -> "Plan":
        """The plan, once the newest root vouches for all of it. Blobs are checked as they go."""
        root = trust.stored_root(roots[-1])
        try:
            manifest = None
            if release is not None:
                manifest = trust.parse_release(trust.verify(root, "release", release[0]))
            named = {}
            for document in heads:
                name = cbor.decode(trust.verify(root, "head", document))["name"]
                trust.read_head(root, document, name, [0, 0], None)
                named[str(name)] = document
        except VerifyError as error:
            message = f"a device would refuse this: {error.code} {error.detail}".rstrip()
            fix = "`outpost verify` explains it"
            raise OutpostError(error.code, message, fix, ExitCode.VERIFICATION_FAILED) from error
        return cls(roots, release, named, manifest)

    def summary(self) -> dict[str, Any]:
        """For people and for --json."""
        return {
            "roots": len(self.roots),
            "release": self.manifest["digest"].hex() if self.manifest else None,
            "files": len(self.manifest["files"]) if self.manifest else 0,
            "heads": sorted(self.heads),
        }

    def apply(self, folder: Path) -> bool:
        """Publish into `folder`, in the order devices follow; whether anything changed."""
        repository = Repository(folder)
        changed = [repository.add_root(document) for document in self.roots]
        if self.release is not None:
            changed.append(repository.add_release(*self.release))
        changed += [repository.add_head(name, document) for name, document in self.heads.items()]
        return any(changed)
