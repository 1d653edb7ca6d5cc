"""What is in a slot: its files against its manifest, its seal, and nothing else.

Invariants: every byte that can be imported from a slot has been hashed since power came; a file
the manifest does not list could shadow one that it does (or a builtin), so it is removed before
anything is executed. Removed rather than refused: a stray file must not be able to take a device
off the air. The seal says "this device has once verified the signatures of this manifest, and
then every file". On a wake from deep sleep it replaces both (a signature is 0.4 s on an RP2040,
the files as much again; nothing but an update writes to a slot, and it removes the seal first;
docs/decisions/wake-without-hashing.md). It also keeps an installed release bootable after its key
has been revoked: revocation stops what is installed next, it does not switch devices off.
"""

import hashlib
import os

from micropython import const

from loader import cbor, layout, record, trust
from loader.cbor import VerifyError, refuse, sha256

_BUFFER_BYTES = const(2048)  # read at a time


def seal_of(secret: bytes, message: bytes) -> bytes:
    """HMAC-SHA256 (RFC 2104) of a manifest's digest under the device's secret of 32 bytes."""
    for pad in (0x36, 0x5C):
        message = sha256(bytes([b ^ pad for b in secret + bytes(32)]) + message)
    return message


def open_manifest(slot: str, secret: bytes, root: "layout.Item" = None) -> "layout.Map":
    """The release in this slot, authenticated by the signatures that `root` asks for.

    "revoked" is added: only the seal vouches for it, as its keys have lost their role. Without a
    root the seal has to do, and nothing is asked that was asked when it was made; without a seal
    the map is then empty.
    """
    doc = record.read(slot + "/" + layout.MANIFEST)
    refuse(not doc, "slot-empty", slot)
    payload = trust.unwrap("release", doc)[0]
    digest = cbor.sha256(payload)
    # an attacker who could time this comparison is already executing on the device
    sealed = record.read(slot + "/" + layout.SEAL) == seal_of(secret, digest)
    if not root:
        return dict(cbor.decode(payload), digest=digest, revoked=False) if sealed else {}
    revoked = False
    try:
        trust.verify(root, "release", doc)
    except VerifyError as error:
        if not sealed or error.code == "signature":
            raise
        revoked = True
    return dict(trust.parse_release(payload), revoked=revoked)


def check_files(slot: str, release: "layout.Map", secret: bytes) -> None:
    """Every listed file is what the manifest says; every other is removed; seal the slot."""
    buffer = bytearray(_BUFFER_BYTES)
    keep = {layout.MANIFEST, layout.SEAL}
    for path, size, digest in release["files"]:
        h = hashlib.sha256()
        try:
            with open(slot + "/" + path, "rb") as f:
                while count := f.readinto(buffer):
                    h.update(memoryview(buffer)[:count])
                    size -= count
        except OSError:
            raise VerifyError("slot-file", path)
        refuse(size or h.digest() != digest, "slot-hash", path)
        while path:  # the file and the folders it is in
            keep.add(path)
            path = path[: max(path.rfind("/"), 0)]
    remove_strays(slot, "", keep)
    record.write(slot + "/" + layout.SEAL, seal_of(secret, release["digest"]))


def remove_strays(slot: str, folder: str, keep: "set[str]") -> None:
    """Remove what is not in `keep` from a folder of the slot ("" or "name/") and those in it."""
    for name in os.listdir(slot + "/" + folder[:-1]):
        path = folder + name
        full = slot + "/" + path
        if os.stat(full)[0] & 0x4000:  # a folder
            remove_strays(slot, path + "/", keep)
            if path not in keep:
                os.rmdir(full)
        elif path not in keep:
            os.remove(full)
