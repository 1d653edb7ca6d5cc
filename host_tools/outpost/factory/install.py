"""Installs a bundle over a board's REPL: the same release, the same checks, no network.

Works on a board that runs and on one in safe mode, because it needs nothing of the board but the
loader. The host only copies: the loader verifies the signatures before the first byte is written,
and the whole slot, as it will be executed, before the trial begins. It is a trial like any other:
a release that does not become healthy is rolled back. A cut leaves a slot that cannot boot yet;
the same command goes on from there.
"""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loader import trust

from outpost.errors import ExitCode, OutpostError
from outpost.factory.bundle import Bundle
from outpost.factory.link import Link

_CHUNK_BYTES = 1536  # of content in one script: two kilobytes of base64 on the board's heap

_BEGIN = """
import sys
sys.path[:] = ['.frozen', '/outpost']
import binascii, gc, hashlib, os
gc.threshold(4096)
from loader import layout, record, start
from loader.cbor import VerifyError
from loader.handover import Boot
_b = Boot('', start.device_facts(''), 'soft', '')
_b._use(_b.record['confirmed'])
_d = bytearray()
def _try(f, *a):
    try:
        f(*a)
    except VerifyError as e:
        return e.code
    return ''
def _walk(folder, found):
    for e in os.ilistdir(folder):
        path = folder + '/' + e[0]
        if e[1] == 0x4000:
            _walk(path, found)
        else:
            found[path] = binascii.hexlify(_hash(path)).decode()
    return found
def _hash(path):
    h = hashlib.sha256()
    b = bytearray(512)
    with open(path, 'rb') as f:
        while True:
            n = f.readinto(b)
            if not n:
                return h.digest()
            h.update(memoryview(b)[:n])
def _folders(path):
    parts = path.split('/')
    for i in range(2, len(parts)):
        try:
            os.mkdir('/'.join(parts[:i]))
        except OSError:
            pass
def _copy(old, new):
    _folders(new)
    b = bytearray(512)
    with open(old, 'rb') as f, open(new, 'wb') as g:
        while True:
            n = f.readinto(b)
            if not n:
                return
            g.write(memoryview(b)[:n])
print({'trial': bool(_b.record['trial']), 'root': _b.root['version'], 'slot': _b.slot,
    'staging': _b.staging})
"""


@dataclass
class Report:
    """What was done: files sent over the wire, taken from the board itself, and left as they
    were.
    """

    sent: int = 0
    copied: int = 0
    kept: int = 0


Progress = Callable[[str], None]


def install(link: Link, bundle: Bundle, progress: Progress = lambda _: None) -> Report:
    """Install, begin the trial and reset; the session is over then."""
    state = link.ask("looking at the board", _BEGIN)
    if state["trial"]:
        raise OutpostError(
            "trial-running",
            "a release is on trial on this board",
            "let it run until it is confirmed or has failed, then try again",
            ExitCode.REFUSED,
        )
    _follow_roots(link, bundle, state["root"])
    _load(link, bundle.document)
    _verified(link.ask("verifying", "print(repr(_try(_b.accept_release, _d)))\n"))
    report = _fill(link, bundle, state, progress)
    progress("verifying")
    _load(link, bundle.document)
    _verified(link.ask("activating", "print(repr(_try(_b.activate, bytes(_d))))\n"))
    link.ask("planning the reset", "_b.plan_reset('update')\nprint(True)\n")
    link.reset()
    return report


def _follow_roots(link: Link, bundle: Bundle, version: int) -> None:
    for root in bundle.roots:
        if trust.stored_root(root)["version"] == version + 1:
            _load(link, root)
            _verified(
                link.ask("following the trust root", "print(repr(_try(_b.accept_root, _d)))\n")
            )
            version += 1


def _verified(code: Any) -> None:
    if code:
        raise OutpostError(
            str(code),
            f"the board refuses this release: {code}",
            "docs/reference/formats.md lists the reasons",
            ExitCode.REFUSED
            if code in ("epoch", "failed-before")
            else ExitCode.VERIFICATION_FAILED,
        )


def _literal(data: bytes) -> str:
    return f"binascii.a2b_base64({b64encode(data).decode()!r})"


def _load(link: Link, document: bytes) -> None:
    """Put a document into the board's memory, as `_d`."""
    link.ask("sending a document", "_d = bytearray()\nprint(True)\n")
    for at in range(0, len(document), _CHUNK_BYTES):
        part = _literal(document[at : at + _CHUNK_BYTES])
        link.ask("sending a document", f"_d.extend({part})\nprint(True)\n")


def _fill(link: Link, bundle: Bundle, state: dict[str, Any], progress: Progress) -> Report:
    """Bring every file to the staging slot, over the wire only what the board does not have."""
    staging, running = state["staging"], state["slot"]
    for name in ("layout.MANIFEST", "layout.SEAL"):
        path = f"_p = {staging!r} + '/' + {name}\n"
        script = path + "if record.read(_p):\n    os.remove(_p)\nprint(True)\n"
        link.ask("clearing the slot", script)
    here = link.ask("hashing", f"_folders({staging + '/x'!r})\nprint(_walk({staging!r}, {{}}))\n")
    there = link.ask("hashing", f"print(_walk({running!r}, {{}}))\n")
    report = Report()
    for path, _, digest in bundle.release["files"]:
        target = f"{staging}/{path}"
        if here.get(target) == digest.hex():
            report.kept += 1
            continue
        source = next((old for old, found in there.items() if found == digest.hex()), None)
        if source:
            link.ask("copying", f"_copy({source!r}, {target!r})\nprint(True)\n")
            report.copied += 1
        else:
            progress(path)
            _send(link, target, bundle.files[path])
            report.sent += 1
    return report


def _send(link: Link, target: str, content: bytes) -> None:
    link.ask("sending", f"_folders({target!r})\nopen({target!r}, 'wb').close()\nprint(True)\n")
    for at in range(0, len(content), _CHUNK_BYTES):
        part = _literal(content[at : at + _CHUNK_BYTES])
        script = f"with open({target!r}, 'ab') as f:\n    f.write({part})\nprint(True)\n"
        link.ask("sending", script)
