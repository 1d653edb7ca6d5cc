"""Verification, explained: every check by the device's own code, with what it found.

Owns no rule. Each step calls loader.trust; a check that fails ends the explanation, as it would
end the device's, and the verdict is what the device would say.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loader import cbor, trust
from loader.cbor import VerifyError

from . import cose, reasons


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `code` is a reason of loader.layout's when it is not `ok`."""

    name: str
    ok: bool
    found: str
    code: str = ""


@dataclass
class Verdict:
    """All checks, in the device's order; at most the last one has failed."""

    role: str
    checks: list[Check] = field(default_factory=list)
    payload: dict[str, Any] | None = None

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    @property
    def code(self) -> str:
        return "" if self.ok else self.checks[-1].code

    def passed(self, name: str, found: str) -> None:
        self.checks.append(Check(name, True, found))

    def failed(self, name: str, error: VerifyError) -> None:
        detail = f" ({error.detail})" if error.detail else ""
        text = reasons.reason(error.code) + detail
        self.checks.append(Check(name, False, text, error.code))


@dataclass(frozen=True)
class Context:
    """What the document is compared with; what is not given is not checked."""

    device: dict[str, Any] | None = None
    """Facts of a device, as trust.check_release wants them."""
    digest: bytes | None = None
    head_name: str | None = None
    seen: tuple[int, int] = (0, 0)
    now_s: int | None = None
    device_id: str | None = None
    files: Path | None = None
    """Folder of the files that a release lists."""


def explain(role: str, document: bytes, root: bytes, context: Context | None = None) -> Verdict:
    """Verify `document` by the trust root in force, step by step."""
    verdict = Verdict(role)
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("trust root", lambda: _root(verdict, root)),
        ("document", lambda: _document(verdict, document)),
        ("signatures", lambda: _signatures(verdict, document, root)),
        ("content", lambda: _content(verdict, document, root, context or Context())),
    )
    for name, step in steps:
        try:
            step()
        except VerifyError as error:
            verdict.failed(name, error)
            break
    return verdict


def _root(verdict: Verdict, root: bytes) -> None:
    parsed = trust.stored_root(root)
    trust.verify(parsed, "root", root)
    threshold, kids, _ = parsed["roles"]["root"]
    verdict.passed(
        "trust root", f"version {parsed['version']}, root role {threshold} of {len(kids)} keys"
    )


def _document(verdict: Verdict, document: bytes) -> None:
    payload, signatures = trust.unwrap(verdict.role, document)
    verdict.passed(
        "document",
        f"COSE_Sign, {verdict.role}, {len(document)} bytes, payload {len(payload)} bytes, "
        f"{len(signatures)} signature(s)",
    )


def _signatures(verdict: Verdict, document: bytes, root: bytes) -> None:
    parsed = trust.stored_root(root)
    threshold, kids, _ = parsed["roles"][verdict.role]
    _, pairs = cose.signatures_of(verdict.role, document)
    for kid, signature in pairs:
        if kid in kids:
            payload, _ = trust.unwrap(verdict.role, document)
            message = cose.to_be_signed(verdict.role, kid, bytes(payload))
            digest = hashlib.sha256(message).digest()
            cbor.refuse(
                not trust.pss_verify(parsed["keys"][kid], digest, signature),
                "signature",
                kid.hex(),
            )
            verdict.passed("signature", f"{kid.hex()} PS256, valid, a {verdict.role} key")
        else:
            verdict.passed("signature", f"{kid.hex()} not a {verdict.role} key, does not count")
    trust.verify(parsed, verdict.role, document)
    verdict.passed("threshold", f"{threshold} of {len(kids)} {verdict.role} keys, reached")


def _content(verdict: Verdict, document: bytes, root: bytes, context: Context) -> None:
    parsed = trust.stored_root(root)
    _READERS[verdict.role](verdict, document, parsed, context)


def _read_root(verdict: Verdict, document: bytes, root: dict[str, Any], context: Context) -> None:
    new = trust.stored_root(document)
    if new["version"] != root["version"]:
        new = trust.next_root(root, document)
    verdict.payload = new
    verdict.passed("successor", f"version {new['version']} after version {root['version']}")


def _read_head(verdict: Verdict, document: bytes, root: dict[str, Any], context: Context) -> None:
    raw = cbor.decode(trust.verify(root, "head", document))
    name = context.head_name or str(raw.get("name"))
    head = trust.read_head(root, document, name, list(context.seen), context.now_s)
    verdict.payload = head
    verdict.passed("name", head["name"])
    verdict.passed("sequence", f"{head['sequence']} in era {head['era']}, not behind")
    verdict.passed("release", head["release"].hex())
    verdict.passed("freshness", "EXPIRED: an alarm, not a refusal" if head["frozen"] else "fresh")


def _read_release(
    verdict: Verdict, document: bytes, root: dict[str, Any], context: Context
) -> None:
    payload = trust.verify(root, "release", document)
    release = trust.parse_release(payload, context.digest)
    verdict.payload = release
    verdict.passed(
        "manifest",
        f"{release['product']} {release['version']}, "
        f"epoch {release['epoch']}, {release['digest'].hex()}",
    )
    sizes = sum(size for _, size, _ in release["files"])
    verdict.passed(
        "files", f"{len(release['files'])} listed, {sizes} of {release['budget']} bytes"
    )
    if context.device is not None:
        trust.check_release(release, context.device)
        facts = context.device
        verdict.passed("device", f"fits {facts['product']} on {facts['board']} ({facts['chip']})")
    if context.files is not None:
        _check_contents(release, context.files)
        verdict.passed("contents", f"every file in {context.files} is the one that was signed")


def _check_contents(release: dict[str, Any], folder: Path) -> None:
    for name, size, digest in release["files"]:
        try:
            content = (folder / name).read_bytes()
        except OSError:
            raise VerifyError("slot-file", name) from None
        wrong = len(content) != size or hashlib.sha256(content).digest() != digest
        cbor.refuse(wrong, "slot-hash", name)


def _read_ops(verdict: Verdict, document: bytes, root: dict[str, Any], context: Context) -> None:
    raw = cbor.decode(trust.verify(root, "ops", document))
    device_id = context.device_id or str(raw.get("device"))
    ops = trust.read_ops(root, document, device_id, context.now_s)
    verdict.payload = ops
    verdict.passed("command", f"{ops['command']} for {ops['device']}, id {ops['id']}")


_READERS: dict[str, Callable[[Verdict, bytes, dict[str, Any], Context], None]] = {
    "root": _read_root,
    "head": _read_head,
    "release": _read_release,
    "ops": _read_ops,
}
