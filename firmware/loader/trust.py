"""Who may say what this device runs: COSE_Sign documents (RFC 9052 section 4), PS256, roles pinned by a trust root.

Owns every decision on a signed document. Theory: the root names, for each role, its keys and how many distinct ones
must sign. The protected headers are not parsed but rebuilt from what the root says and compared byte by byte, so a
message chooses neither algorithm nor key nor kind. Nothing here reads a clock, a file or the device: the caller passes
what is known, and `now_s` is None when the time is not.
"""

import hashlib

from loader import cbor, layout
from loader.cbor import VerifyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Buffer = bytes | bytearray | memoryview
    Map = dict[str, Any]

_COSE_SIGN = b"\xd8\x62"  # tag 98 (RFC 9052 section 2)
_PATH_CHARS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."


def sha256(data: "Buffer") -> bytes:
    return hashlib.sha256(data).digest()


# --- COSE_Sign


def body_header(role: str) -> bytes:
    """Protected header of the document: {3 (content type): "outpost/<role>"}."""
    return cbor.encode({3: layout.TYPE + role})


def signer_header(kid: "Buffer") -> bytes:
    """Protected header of one signature: {1 (alg): PS256, 4 (kid): kid}."""
    return cbor.encode({1: layout.ALG, 4: kid})


def unwrap(role: str, doc: "Buffer") -> "tuple[memoryview, list[Any]]":
    """(payload, signatures) of a document of this role. Nothing is verified yet."""
    if len(doc) > layout.MAX_DOCUMENT_BYTES:
        raise VerifyError("doc-size")
    if bytes(doc[:2]) != _COSE_SIGN:
        raise VerifyError("cose-shape")
    body = cbor.decode(memoryview(doc)[2:], True)
    if type(body) is not list or len(body) != 4:
        raise VerifyError("cose-shape")
    header, unprotected, payload, signatures = body
    if unprotected != {} or type(header) is not memoryview or type(payload) is not memoryview:
        raise VerifyError("cose-shape")
    if type(signatures) is not list or not 0 < len(signatures) <= layout.MAX_SIGNATURES:
        raise VerifyError("cose-shape")
    for entry in signatures:
        if type(entry) is not list or len(entry) != 3 or entry[1] != {}:
            raise VerifyError("cose-shape")
        if type(entry[0]) is not memoryview or type(entry[2]) is not memoryview:
            raise VerifyError("cose-shape")
    if header != body_header(role):
        raise VerifyError("cose-type")
    return payload, signatures


def _mask(seed: "Buffer", size: int) -> int:
    """MGF1 with SHA-256 (RFC 8017 appendix B.2.1), as an integer."""
    out = bytearray()
    for counter in range((size + 31) // 32):
        out.extend(sha256(bytes(seed) + counter.to_bytes(4, "big")))
    return int.from_bytes(bytes(out[:size]), "big")


def pss_verify(modulus: "Buffer", digest: bytes, signature: "Buffer") -> bool:
    """RSASSA-PSS verification (RFC 8017 sections 8.1.2 and 9.1.2): SHA-256, salt of 32 bytes, RSA-3072."""
    size = layout.KEY_BYTES
    n = int.from_bytes(modulus, "big")
    s = int.from_bytes(signature, "big")
    if len(signature) != size or s >= n:
        return False
    em = pow(s, layout.EXPONENT, n).to_bytes(size, "big")
    db_size = size - 33
    h = em[db_size:-1]
    if em[-1] != 0xBC or em[0] & 0x80:
        return False
    db = (int.from_bytes(em[:db_size], "big") ^ _mask(h, db_size)).to_bytes(db_size, "big")
    # emBits is 3071: the first bit of the block is masked away (step 9)
    if db[0] & 0x7F or db[1:-33] != bytes(db_size - 34) or db[-33] != 1:
        return False
    return sha256(bytes(8) + digest + db[-32:]) == h


def verify(root: "Map", role: str, doc: "Buffer") -> memoryview:
    """The payload of `doc` once a threshold of the role's distinct keys has signed it."""
    payload, signatures = unwrap(role, doc)
    threshold, kids, _ = root["roles"][role]
    known = {signer_header(kid): kid for kid in kids}
    valid = 0
    for header, _, signature in signatures:
        kid = known.pop(bytes(header), None)  # popped: a key counts once
        if kid is None:
            continue
        # Sig_structure (RFC 9052 section 4.4), with no external data
        h = hashlib.sha256(
            b"\x85\x69Signature" + cbor.encode(body_header(role)) + cbor.encode(header)
        )
        h.update(b"\x40" + cbor.prefix(2, len(payload)))
        h.update(payload)
        if not pss_verify(root["keys"][kid], h.digest(), signature):
            raise VerifyError("signature")
        valid += 1
        if valid == threshold:
            return payload
    raise VerifyError("threshold" if valid else "signer")


# --- root


def parse_root(payload: "Buffer") -> "Map":
    """The map of ROOT_FIELDS, once it is one that can be trusted to be usable."""
    root = cbor.check(cbor.decode(payload), layout.ROOT_FIELDS)
    for kid, modulus in root["keys"].items():
        if (
            type(modulus) is not bytes
            or len(modulus) != layout.KEY_BYTES
            or not modulus[0] & 0x80 & modulus[-1] << 7
        ):
            raise VerifyError("root-keys")
        if kid != sha256(modulus)[: layout.KID_BYTES]:
            raise VerifyError("root-keys")
    for role in layout.ROLES:
        entry = root["roles"].get(role)
        if type(entry) is not list or [type(part) for part in entry] != [int, list, int]:
            raise VerifyError("root-roles", role)
        threshold, kids, _ = entry
        usable = [kid for kid in kids if type(kid) is bytes and kid in root["keys"]]
        if usable != kids or len(set(kids)) != len(kids) or not 0 < threshold <= len(kids):
            raise VerifyError("root-roles", role)
    return root


def stored_root(doc: "Buffer") -> "Map":
    """The root this device already trusts (it came with the factory image or through next_root)."""
    return parse_root(unwrap("root", doc)[0])


def next_root(root: "Map", doc: "Buffer") -> "Map":
    """The root after `root`: signed by a threshold of the keys of both (TUF section 5.3)."""
    new = parse_root(verify(root, "root", doc))
    if new["version"] != root["version"] + 1:
        raise VerifyError("root-version")
    verify(new, "root", doc)
    return new


# --- head


def read_head(
    root: "Map", doc: "Buffer", name: str, seen: "list[int]", now_s: "int | None" = None
) -> "Map":
    """The head's map, with "era" and "frozen" added; `seen` is [era, sequence] of the last one accepted."""
    head = cbor.check(cbor.decode(verify(root, "head", doc)), layout.HEAD_FIELDS)
    if head["name"] != name:
        raise VerifyError("head-name", head["name"])
    head["era"] = root["roles"]["head"][2]
    if [head["era"], head["sequence"]] < seen:
        raise VerifyError("head-rollback")
    # an alarm, never a refusal: a clock that is wrong or a signer that is late must not block a repair
    head["frozen"] = now_s is not None and now_s > head["expires"]
    return head


# --- release


def read_release(root: "Map", doc: "Buffer", digest: "bytes | None" = None) -> "Map":
    """The release's map with "digest" added: SHA-256 of the payload, which must be `digest` when that is given."""
    return parse_release(verify(root, "release", doc), digest)


def parse_release(payload: "Buffer", digest: "bytes | None" = None) -> "Map":
    """As read_release, for a payload whose signatures (or seal) have been checked."""
    actual = sha256(payload)
    if digest is not None and digest != actual:
        raise VerifyError("digest")
    release = cbor.check(cbor.decode(payload), layout.RELEASE_FIELDS)
    cbor.check(release["health"], layout.HEALTH_FIELDS)
    _check_version(release["micropython"])
    release["digest"] = actual
    _check_files(release)
    return release


def _check_version(version: "Any") -> None:
    if [type(part) for part in version] != [int, int, int]:
        raise VerifyError("field", "micropython")


def _check_path(path: str, seen: "set[str]") -> None:
    """Relative, plain characters, no empty or dotted part, not one of the loader's names, no file in a parent's place."""
    if not 0 < len(path) <= layout.MAX_PATH or path in (layout.MANIFEST, layout.SEAL):
        raise VerifyError("path", path)
    parent = ""
    for part in path.split("/"):
        if (
            parent[:-1] in seen
            or not part
            or part[0] == "."
            or not all(c in _PATH_CHARS for c in part)
        ):
            raise VerifyError("path", path)
        parent += part + "/"


def _check_files(release: "Map") -> None:
    files = release["files"]
    seen = set()  # type: set[str]
    total = 0
    last = ""
    if not 0 < len(files) <= layout.MAX_FILES:
        raise VerifyError("files")
    for entry in files:
        if type(entry) is not list or [type(part) for part in entry] != [str, int, bytes]:
            raise VerifyError("files")
        path, size, digest = entry
        if size < 0 or len(digest) != 32:
            raise VerifyError("files", path)
        _check_path(path, seen)
        if path <= last:
            raise VerifyError("path", path)
        last = path
        seen.add(path)
        total += size
    if layout.ENTRY not in seen:
        raise VerifyError("entry")
    if total > release["budget"]:
        raise VerifyError("slot-size")


def check_release(release: "Map", device: "Map") -> None:
    """Everything that must hold between a release and this device before its first flash write.

    `device`: BOARD_FIELDS, and mpy, micropython, build (of the running runtime), floor, failed (of the boot record), era.
    """
    hardware = release["boards"].get(device["board"])
    runtime = release.get("runtime")
    if runtime is None:
        runtime = device
    else:
        _check_runtime(release, cbor.check(runtime, layout.RUNTIME_FIELDS), device)
    for wrong, code in (
        (release["product"] != device["product"], "product"),
        (type(hardware) is not list, "board"),
        (hardware and device["hw"] not in hardware, "hardware"),
        (device["chip"] not in release["chips"], "chip"),
        (release["loader"] > layout.LOADER, "loader"),
        (release["mpy"] != runtime["mpy"], "mpy-abi"),
        (release["micropython"] > list(runtime["micropython"]), "micropython"),
        (release["budget"] > device["slot_budget"], "slot-budget"),
        ([device["era"], release["epoch"]] < device["floor"], "epoch"),
        (release["digest"] in device["failed"], "failed-before"),
    ):
        if wrong:
            raise VerifyError(code)


def _check_runtime(release: "Map", runtime: "Map", device: "Map") -> None:
    _check_version(runtime["micropython"])
    room = device.get("runtime_max") or 0
    chunks = [size for path, size, _ in release["files"] if path == runtime["chunks"]]
    for wrong, code in (
        (not room, "runtime-none"),
        (not 0 < runtime["size"] <= room, "runtime-size"),
        (runtime["board"] != device["board"], "runtime-board"),
        (chunks != [(runtime["size"] + layout.CHUNK - 1) // layout.CHUNK * 32], "runtime-chunks"),
        (len(runtime["sha256"]) != 32, "field"),
    ):
        if wrong:
            raise VerifyError(code)


# --- ops


def read_ops(root: "Map", doc: "Buffer", device_id: str, now_s: "int | None") -> "Map":
    """A signed command for this device. That its id has not run before is the caller's to check."""
    ops = cbor.check(cbor.decode(verify(root, "ops", doc)), layout.OPS_FIELDS)
    if ops["device"] != device_id:
        raise VerifyError("ops-device")
    if now_s is None:  # unlike an update, a wipe repairs nothing: without a clock it is refused
        raise VerifyError("ops-clock")
    if now_s > ops["expires"]:
        raise VerifyError("ops-expired")
    return ops
