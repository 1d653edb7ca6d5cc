"""What is in a slot: its files against its manifest, its seal, and nothing else.

Invariants: every byte that can be imported from a slot has been hashed in this boot; a file the manifest does not list
could shadow one that it does (or a builtin), so it is removed before anything is executed. Removed rather than refused:
a stray file must not be able to take a device off the air.
The seal says "this device has once verified the signatures of this manifest". It replaces the signatures on a wake from
deep sleep (an RSA verification is 0.4 s on an RP2040), and it keeps an installed release bootable after its
key has been revoked: revocation stops what is installed next, it does not switch devices off.
"""

import hashlib
import os

from loader import layout, record, trust
from loader.cbor import VerifyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DIRECTORY = 0x4000  # the type field of os.ilistdir


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """RFC 2104, for keys of at most 64 bytes."""
    pad = key + bytes(64 - len(key))
    inner = trust.sha256(bytes([b ^ 0x36 for b in pad]) + message)
    return trust.sha256(bytes([b ^ 0x5C for b in pad]) + inner)


def sealed(slot: str, secret: bytes, digest: bytes) -> bool:
    # an attacker who could time this comparison is already executing on the device
    return record.read(slot + "/" + layout.SEAL, 32) == hmac_sha256(secret, digest)


def seal(slot: str, secret: bytes, digest: bytes) -> None:
    record.write(slot + "/" + layout.SEAL, hmac_sha256(secret, digest))


def open_manifest(
    slot: str, root: "dict[str, Any]", secret: bytes, wake: bool
) -> "dict[str, Any]":
    """The release in this slot, authenticated by its seal (`wake`) or by its signatures; "revoked" is added."""
    doc = record.read(slot + "/" + layout.MANIFEST)
    if not doc:
        raise VerifyError("slot-empty", slot)
    payload = trust.unwrap("release", doc)[0]
    is_sealed = sealed(slot, secret, trust.sha256(payload))
    revoked = False
    if not (wake and is_sealed):
        try:
            trust.verify(root, "release", doc)
        except VerifyError as error:
            if not is_sealed or error.code == "signature":
                raise
            revoked = True
    release = trust.parse_release(payload)
    release["revoked"] = revoked
    if not is_sealed:
        seal(slot, secret, release["digest"])
    return release


def hash_file(path: str, buffer: bytearray) -> "tuple[int, bytes]":
    """(size, SHA-256) of a file, read through `buffer`."""
    view = memoryview(buffer)
    h = hashlib.sha256()
    size = 0
    with open(path, "rb") as f:
        while True:
            count = f.readinto(buffer)
            if not count:
                return size, h.digest()
            h.update(view[:count])
            size += count


def check_files(slot: str, release: "dict[str, Any]") -> None:
    """Every listed file is there and is what the manifest says; every other file is removed."""
    buffer = bytearray(layout.BUFFER)
    keep = {layout.MANIFEST, layout.SEAL}
    for path, size, digest in release["files"]:
        keep.add(path)
        try:
            found = hash_file(slot + "/" + path, buffer)
        except OSError:
            raise VerifyError("slot-file", path)
        if found != (size, digest):
            raise VerifyError("slot-hash", path)
    remove_strays(slot, "", keep)


def remove_strays(slot: str, folder: str, keep: "set[str]") -> None:
    """Remove what is not in `keep`, and the folders that are left empty."""
    for entry in list(os.ilistdir(slot + "/" + folder)):  # type: ignore[attr-defined]
        path = folder + entry[0]
        if entry[1] == _DIRECTORY:
            remove_strays(slot, path + "/", keep)
            if not [1 for kept in keep if kept.startswith(path + "/")]:
                os.rmdir(slot + "/" + path)
        elif path not in keep:
            os.remove(slot + "/" + path)
