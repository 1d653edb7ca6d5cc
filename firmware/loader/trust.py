"""Who may say what this device runs: COSE_Sign (RFC 9052 section 4), PS256, a pinned trust root.

Owns every decision on a signed document. Theory: the root names, for each role, its keys and how
many distinct ones must sign. The protected headers are not parsed but rebuilt from what the root
says and compared byte by byte, so a message chooses neither algorithm nor key nor kind. Nothing
here reads a clock, a file or the device: the caller passes what is known, and `now_s` is None
when the time is not.
"""

import hashlib

from micropython import const

from loader import cbor, layout
from loader.cbor import check, encode, kinds, refuse, sha256

# PS256 is RSASSA-PSS with SHA-256, MGF1-SHA-256 and a salt of 32 bytes (RFC 8230, RFC 8017)
_KEY_BYTES = const(384)  # RSA-3072: modulus and signature
_DB_BYTES = const(351)  # the data block of EMSA-PSS: a key's bytes less a hash and the trailer
_MAX_SIGNATURES = const(8)  # signatures on one document
_MAX_FILES = const(40)  # files in one release: its list is what an update holds in memory
_MAX_PATH = const(64)  # characters in a path inside a slot
_CHUNK = const(4096)  # bytes of a runtime image covered by one hash
# what a path in a slot may be made of
_PATH_CHARS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
# fields of the payloads, "name type ...": see layout
_ROOT = const("version int keys dict roles dict")
_HEAD = const("name str release bytes sequence int issued int expires int root int")
_RELEASE = const(
    "product str version str epoch int boards dict chips list mpy int micropython list "
    "loader int budget int health dict files list"
)
_RUNTIME = const("board str build str mpy int micropython list size int sha256 bytes chunks str")
_OPS = const("device str id str command str expires int")


# --- COSE_Sign


def body_header(role: str) -> bytes:
    """Protected header of a document: {3 (content type): "outpost/<role>"} (section 3.1)."""
    return encode({3: "outpost/" + role})


def signer_header(kid: "layout.Buffer") -> bytes:
    """Protected header of one signature: {1 (alg): PS256, 4 (kid): kid}."""
    return encode({1: -37, 4: kid})


def unwrap(role: str, doc: "layout.Buffer") -> "tuple[memoryview, list[layout.Item]]":
    """(payload, signatures) of a document of this role. Nothing is verified yet."""
    refuse(len(doc) > layout.MAX_DOCUMENT_BYTES, "doc-size")
    refuse(bytes(doc[:2]) != b"\xd8\x62", "cose-shape")  # tag 98
    body = cbor.decode(memoryview(doc)[2:], True)
    refuse(kinds(body) != [memoryview, dict, memoryview, list] or body[1], "cose-shape")
    header, _, payload, signatures = body
    refuse(not 0 < len(signatures) <= _MAX_SIGNATURES, "cose-shape")
    for entry in signatures:
        refuse(kinds(entry) != [memoryview, dict, memoryview] or entry[1], "cose-shape")
    refuse(header != body_header(role), "cose-type")
    return payload, signatures


def pss_verify(modulus: bytes, digest: bytes, signature: "layout.Buffer") -> bool:
    """RSASSA-PSS verification (RFC 8017 sections 8.1.2 and 9.1.2) with RSA-3072."""
    n = int.from_bytes(modulus, "big")
    s = int.from_bytes(signature, "big")
    if len(signature) != _KEY_BYTES or s >= n:
        return False
    em = pow(s, 65537, n).to_bytes(_KEY_BYTES, "big")
    h = em[_DB_BYTES:-1]
    mask = b"".join([sha256(h + counter.to_bytes(4, "big")) for counter in range(11)])  # MGF1
    db = int.from_bytes(em[:_DB_BYTES], "big") ^ int.from_bytes(mask[:_DB_BYTES], "big")
    block = db.to_bytes(_DB_BYTES, "big")
    # emBits is 3071: the top bit of the encoded message is 0 and that of its mask is dropped
    # (steps 6 and 9); the block is zeros, a one and the salt (step 10)
    start = bytes((block[0] & 0x7F,)) + block[1:-32]
    if em[0] & 0x80 or em[-1] != 0xBC or start != bytes(318) + b"\x01":
        return False
    return sha256(bytes(8) + digest + block[-32:]) == h


def verify(root: "layout.Map", role: str, doc: "layout.Buffer") -> memoryview:
    """The payload of `doc` once a threshold of the role's distinct keys has signed it."""
    payload, signatures = unwrap(role, doc)
    threshold, kids, _ = root["roles"][role]
    known = {signer_header(kid): kid for kid in kids}
    valid = 0
    for header, _, signature in signatures:
        kid = known.pop(bytes(header), None)  # popped: a key counts once
        if kid and valid < threshold:
            # Sig_structure (RFC 9052 section 4.4), with no external data
            h = hashlib.sha256(b"\x85\x69Signature" + encode(body_header(role)) + encode(header))
            h.update(b"\x40" + cbor.prefix(2, len(payload)))
            h.update(payload)
            refuse(not pss_verify(root["keys"][kid], h.digest(), signature), "signature")
            valid += 1
    refuse(valid < threshold, "threshold" if valid else "signer")
    return payload


# --- root


def parse_root(payload: "layout.Buffer") -> "layout.Map":
    """The map of ROOT_FIELDS, once it is one that can be trusted to be usable."""
    root = check(cbor.decode(payload), _ROOT)
    keys = root["keys"]
    for kid, n in keys.items():
        good = type(n) is bytes and len(n) == _KEY_BYTES and n[0] & n[-1] << 7 & 128
        refuse(not good or kid != sha256(n)[:8], "root-keys")
    for role in layout.ROLES:
        entry = root["roles"].get(role)
        refuse(kinds(entry) != [int, list, int], "root-roles", role)
        usable = {kid for kid in entry[1] if type(kid) is bytes and kid in keys}
        refuse(not len(entry[1]) == len(usable) >= entry[0] > 0, "root-roles", role)
    return root


def stored_root(doc: "layout.Buffer") -> "layout.Map":
    """The root this device already trusts (from the factory image or through next_root)."""
    return parse_root(unwrap("root", doc)[0])


def next_root(root: "layout.Map", doc: "layout.Buffer") -> "layout.Map":
    """The root after `root`: signed by a threshold of the keys of both (TUF section 5.3)."""
    new = parse_root(verify(root, "root", doc))
    refuse(new["version"] != root["version"] + 1, "root-version")
    verify(new, "root", doc)
    return new


# --- head


def read_head(
    root: "layout.Map", doc: "layout.Buffer", name: str, seen: "list[int]", now_s: "int | None"
) -> "layout.Map":
    """The head's map, with "era" and "frozen" added; `seen` is the last [era, sequence]."""
    head = check(cbor.decode(verify(root, "head", doc)), _HEAD)
    refuse(head["name"] != name, "head-name", head["name"])
    head["era"] = root["roles"]["head"][2]
    refuse([head["era"], head["sequence"]] < seen, "head-rollback")
    # an alarm, never a refusal: a wrong clock or a late signer must not block a repair
    head["frozen"] = now_s is not None and now_s > head["expires"]
    return head


# --- release


def parse_release(payload: "layout.Buffer", digest: "bytes | None" = None) -> "layout.Map":
    """The release's map with "digest" added: SHA-256 of the payload, `digest` if that is given.

    For a payload that `verify` has returned, or one whose seal has been checked.
    """
    actual = sha256(payload)
    refuse(digest is not None and digest != actual, "digest")
    release = check(cbor.decode(payload), _RELEASE)
    runtime = release.get("runtime")
    if runtime is not None:
        check(runtime, _RUNTIME)
    for needed in (release, runtime or release):
        refuse(kinds(needed["micropython"]) != [int] * 3, "field", "micropython")
    release["digest"] = actual
    _check_files(release)
    return release


def _check_path(path: str, seen: "set[str]") -> None:
    """Relative, plain characters, no dotted part, not one seen (as are names of the loader's)."""
    refuse(path in seen or len(path) > _MAX_PATH, "path", path)
    parent = ""
    for part in path.split("/"):
        # stripped of what is allowed, nothing is left of a plain name
        strange = not part or part[0] == "." or part.strip(_PATH_CHARS)
        refuse(strange or parent in seen, "path", path)
        parent = parent + "/" + part if parent else part


def _check_files(release: "layout.Map") -> None:
    seen = {layout.MANIFEST, layout.SEAL}
    refuse(not 0 < len(release["files"]) <= _MAX_FILES, "files")
    for entry in release["files"]:
        refuse(kinds(entry) != [str, int, bytes], "files")
        path, size, digest = entry
        refuse(size < 0 or len(digest) != 32, "files", path)
        _check_path(path, seen)
        seen.add(path)
    refuse(layout.ENTRY not in seen, "entry")
    refuse(sum([size for _, size, _ in release["files"]]) > release["budget"], "slot-size")


def check_release(release: "layout.Map", device: "layout.Map") -> None:
    """Everything that must hold between a release and this device before its first flash write.

    `device`: layout's BOARD_FIELDS; mpy, micropython and build of the running runtime; floor and
    failed of the boot record; era of the release role.
    """
    hardware = release["boards"].get(device["board"])
    runtime = release.get("runtime")
    refuse(release["product"] != device["product"], "product")
    refuse(type(hardware) is not list, "board")
    refuse(hardware and device["hw"] not in hardware, "hardware")
    refuse(device["chip"] not in release["chips"], "chip")
    if runtime:
        room = device.get("runtime_max") or 0
        chunks = [size for path, size, _ in release["files"] if path == runtime["chunks"]]
        refuse(not room, "runtime-none")
        refuse(not 0 < runtime["size"] <= room, "runtime-size")
        refuse(runtime["board"] != device["board"], "runtime-board")
        refuse(chunks != [(runtime["size"] + _CHUNK - 1) // _CHUNK * 32], "runtime-chunks")
    runtime = runtime or device
    refuse(release["mpy"] != runtime["mpy"], "mpy-abi")
    refuse(release["micropython"] > runtime["micropython"], "micropython")
    refuse(release["loader"] > layout.LOADER, "loader")
    refuse(release["budget"] > device["slot_budget"], "slot-budget")
    refuse([device["era"], release["epoch"]] < device["floor"], "epoch")
    refuse(release["digest"] in device["failed"], "failed-before")


# --- ops


def read_ops(
    root: "layout.Map", doc: "layout.Buffer", device_id: str, now_s: "int | None"
) -> "layout.Map":
    """A signed command for this device; whether its id has run before is for the caller."""
    ops = check(cbor.decode(verify(root, "ops", doc)), _OPS)
    refuse(ops["device"] != device_id, "ops-device")
    # unlike an update, a wipe repairs nothing: without a clock it is refused
    refuse(now_s is None, "ops-clock")
    refuse((now_s or 0) > ops["expires"], "ops-expired")
    return ops
