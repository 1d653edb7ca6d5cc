"""A bundle: one file with everything that installs a release without a network.

It is a ZIP archive of the paths an update repository has (docs/reference/update.md):

    release.cose        the signed release
    roots/<n>.cose      trust roots, so that a device that has missed some can follow
    blobs/<sha256 hex>  the files, zlib, named by the SHA-256 of their content

Nothing in it is believed: whoever opens it compares every blob with the release's list, and the
device verifies the signatures and hashes what it has stored, as it does after a download.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loader import layout, trust
from loader.cbor import VerifyError

from outpost.errors import ExitCode, OutpostError
from outpost.signing.repository import compress

_RELEASE = "release.cose"
_MAX_FILE_BYTES = 4 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same release gives the same bytes


@dataclass(frozen=True)
class Bundle:
    """An opened bundle. `files` is {path in the slot: content}, each as the release lists it."""

    document: bytes
    release: dict[str, Any]
    roots: tuple[bytes, ...]
    files: dict[str, bytes]


def write(target: Path, document: bytes, files: Path, roots: Sequence[bytes] = ()) -> Bundle:
    """Make the bundle of a signed release whose files are in the folder `files`."""
    release = _parse(document)
    entries = {f"roots/{trust.stored_root(root)['version']}.cose": root for root in roots}
    entries[_RELEASE] = document
    contents = {}
    for path, size, digest in release["files"]:
        content = (files / path).read_bytes()
        _compare(path, content, (size, digest))
        contents[path] = content
        entries[f"blobs/{digest.hex()}"] = compress(content)
    partial = target.with_name(target.name + ".partial")
    with zipfile.ZipFile(partial, "w") as archive:
        for name in sorted(entries):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), entries[name])
    partial.replace(target)
    return Bundle(document, release, tuple(roots), contents)


def read(path: Path) -> Bundle:
    """Open a bundle; OutpostError with exit code 5 when its parts do not belong together."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive)
    except (zipfile.BadZipFile, zlib.error, KeyError, OSError) as error:
        fix = "make it again: outpost publish --bundle"
        raise OutpostError(
            "bundle", f"{path} is not a whole bundle: {error}", fix, ExitCode.VERIFICATION_FAILED
        ) from error


def _read(archive: zipfile.ZipFile) -> Bundle:
    document = _member(archive, _RELEASE, layout.MAX_DOCUMENT_BYTES)
    release = _parse(document)
    roots = sorted(
        (int(name[6:-5]), name)
        for name in archive.namelist()
        if name.startswith("roots/") and name.endswith(".cose") and name[6:-5].isdigit()
    )
    files = {}
    for path, size, digest in release["files"]:
        packed = _member(archive, f"blobs/{digest.hex()}", size + size // 256 + 64)
        content = zlib.decompressobj().decompress(packed, size + 1)
        _compare(path, content, (size, digest))
        files[path] = content
    documents = [_member(archive, name, layout.MAX_DOCUMENT_BYTES) for _, name in roots]
    return Bundle(document, release, tuple(documents), files)


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    with archive.open(name) as member:
        data = member.read(min(limit, _MAX_FILE_BYTES) + 1)
    if len(data) > limit:
        raise KeyError(f"{name} is longer than it can be")
    return data


def _parse(document: bytes) -> dict[str, Any]:
    try:
        release: dict[str, Any] = trust.parse_release(trust.unwrap("release", document)[0])
    except VerifyError as error:
        raise OutpostError(
            error.code,
            f"a device would refuse this release: {error.code} {error.detail}".rstrip(),
            "`outpost verify` explains it",
            ExitCode.VERIFICATION_FAILED,
        ) from error
    return release


def _compare(path: str, content: bytes, expected: tuple[int, bytes]) -> None:
    if (len(content), hashlib.sha256(content).digest()) != expected:
        raise OutpostError(
            "slot-hash",
            f"{path} is not the file that was signed",
            "build and sign again",
            ExitCode.VERIFICATION_FAILED,
        )
