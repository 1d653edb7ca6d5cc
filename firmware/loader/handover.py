"""What the loader knows and hands to the application: the boot record's decisions, and the only doors to change them.

Owns evidence, notes, and the order of writes. Every method leaves the flash in a state that boots, wherever the power is
cut: one rename is one decision, and what must be true before it has been written and verified before it.
"""

import os

from loader import choose, layout, record, slots, trust
from loader.cbor import VerifyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from loader.trust import Buffer, Map

_NO_ROOT: "Map" = {"version": 0, "keys": {}, "roles": {role: [1, [], 0] for role in layout.ROLES}}


class Boot:
    """Handed to `node.main.run(boot)`.

    slot        "/a" or "/b": where this release is (`staging` is the other one, to be written by an update)
    release     the release's payload (layout.RELEASE_FIELDS without "files"), with "digest" and "revoked"
    version, digest   of the release
    mode        "confirmed", "trial" (confirm() is expected) or "fallback" (the confirmed slot is broken)
    trial       mode is "trial"
    cause       why the device started: one of layout.CAUSES
    reason      what plan_reset() was told, when the reset was planned
    tries       tries this trial has spent
    device      board.cbor (layout.BOARD_FIELDS), and mpy, micropython, build of the running runtime
    root        the trust root in force (layout.ROOT_FIELDS)
    watchdog    object with feed(), or None
    reset       machine.reset
    """

    def __init__(self, base: str, device: "Map", cause: str, reason: str) -> None:
        self.base = base  # "" on a device; tests put the filesystem elsewhere
        self.device = device
        self.cause = cause
        self.reason = reason
        self.record = record.Record(base + layout.RECORD)
        self.secret = record.read(base + layout.SECRET, 64)
        self.watchdog = None  # type: Any
        self.reset = None  # type: Callable[[], None] | None
        self.hardware_tells_sleep = False
        self.mode = choose.SAFE
        self.index = -1
        self.tries = 0
        self.release = {}  # type: Map
        self.version = ""
        self.digest = b""
        try:
            self.root = trust.stored_root(record.read(base + layout.ROOT))
        except VerifyError:
            self.root = _NO_ROOT  # a sealed slot still boots

    @property
    def slot(self) -> str:
        return self.base + layout.SLOTS[self.index]

    @property
    def staging(self) -> str:
        return self.base + layout.SLOTS[1 - self.index]

    @property
    def trial(self) -> bool:
        return self.mode == choose.TRIAL

    # --- before the application runs

    def select(self) -> bool:
        """Choose a slot, verify it and bring the record up to date. False: nothing can be executed."""
        data = self.record.data
        trial = list(data["trial"])
        ran = trial if trial and trial[4] else []  # what ran before this boot, when it was a trial
        bad = 0
        while True:
            mode, index, tries, over, failed = choose.choose(
                data["confirmed"], trial, self.cause, bad
            )
            if not bad and ran and self.cause in (layout.WATCHDOG, layout.HARD):
                # before the record: a try is never spent without its evidence
                self.add_evidence((ran[2], ran[1], tries), self.cause, "run", "")
            if failed and data["trial"]:
                self.record.end_trial(True)
            if index < 0:
                return False
            try:
                self._open(index)
                self._settle(mode, index, tries, over)
                break
            except Exception as error:  # noqa: BLE001 - whatever it is, the other slot may be sound
                text = layout.SLOTS[index] + ": " + (getattr(error, "code", None) or repr(error))
                self.add_evidence(("", b"", 0), "verify", "verify", text)
                bad |= 1 << index
        if not ran and self.cause in (layout.WATCHDOG, layout.HARD):
            self.add_evidence((self.version, self.digest, 0), self.cause, "run", "")
        return True

    def _open(self, index: int) -> None:
        slot = self.base + layout.SLOTS[index]
        release = slots.open_manifest(
            slot, self.root, self.secret, self.cause == layout.DEEP_SLEEP
        )
        trust.check_release(release, self.facts())
        runtime = release.get("runtime")
        if runtime and runtime["build"] != self.device["build"]:
            raise VerifyError("runtime-running")
        slots.check_files(slot, release)
        del release["files"]  # several kB that would stay on the heap
        self.release = release
        self.version = release["version"]
        self.digest = release["digest"]

    def _settle(self, mode: str, index: int, tries: int, over: bool) -> None:
        """Write what has been decided, before anything of it is executed."""
        data = self.record.data
        self.mode = mode
        self.index = index
        self.tries = tries
        if mode == choose.TRIAL:
            data["trial"][3] = tries
            data["trial"][4] += 1
        elif over and data["trial"]:
            self.record.end_trial(False)
        if mode == choose.FALLBACK:
            data["confirmed"] = index
        try:
            self.record.save()
        except OSError:
            if self.trial:  # whose tries could then never be counted
                raise

    def facts(self) -> "Map":
        """The device as trust.check_release wants it."""
        facts = dict(self.device)
        facts["floor"] = self.record.data["floor"]
        facts["failed"] = self.record.data["failed"]
        facts["era"] = self.root["roles"]["release"][2]
        return facts

    # --- health

    def confirm(self) -> None:
        """The release on trial has met its health contract: from now on it is the one to boot."""
        floor = [self.facts()["era"], self.release["epoch"]]
        self.record.confirm(self.index, floor)
        self.record.save()
        self.mode = choose.CONFIRMED

    def plan_reset(self, reason: str) -> None:
        """Say why the next reset (or deep sleep: "sleep") happens; without this it reads as a fault on most chips."""
        if reason == "sleep" and self.hardware_tells_sleep:
            return
        record.write(self.base + layout.NOTE, reason.encode())

    def fail(self, cause: str, stage: str, text: str) -> None:
        """Note a fault of this release (layout.EXCEPTION or UNHEALTHY). Reset afterwards: the next boot counts it."""
        self.add_evidence((self.version, self.digest, self.tries + self.trial), cause, stage, text)
        try:
            self.plan_reset(cause)
        except OSError:
            pass  # the reset then reads as a watchdog's or a hard one: a fault as well

    # --- evidence

    def evidence(self) -> "list[Map]":
        """What went wrong and has not been reported: maps of layout.EVIDENCE_FIELDS, oldest first."""
        stored = record.read_map(self.base + layout.EVIDENCE)
        return stored if type(stored) is list else []

    def add_evidence(
        self, release: "tuple[str, bytes, int]", cause: str, stage: str, text: str
    ) -> None:
        """Keep what is known of a fault of `release` (version, digest, tries spent); one entry for equal faults."""
        version, digest, tries = release
        entry = {
            "version": version,
            "digest": digest,
            "cause": cause,
            "stage": stage,
            "text": text,
            "tries": tries,
        }
        kept = self.evidence()
        if entry in kept:
            return  # a confirmed release in a crash loop must not wear the flash out
        kept = [old for old in kept if dict(old, tries=tries) != entry] + [entry]
        try:
            record.write_map(self.base + layout.EVIDENCE, kept[-layout.MAX_EVIDENCE :])
        except OSError:
            pass  # a full or failing disk must not keep the device from booting or resetting

    def evidence_reported(self) -> None:
        """The server has it: forget it."""
        try:
            os.remove(self.base + layout.EVIDENCE)
        except OSError:
            pass

    # --- documents

    def accept_root(self, doc: "Buffer") -> int:
        """Replace the trust root by the next one; its version. Installed releases stay bootable (see slots)."""
        root = trust.next_root(self.root, doc)
        record.write(self.base + layout.ROOT, bytes(doc))
        self.root = root
        version: int = root["version"]
        return version

    def accept_head(self, doc: "Buffer", name: str, now_s: "int | None" = None) -> "Map":
        """The verified head ("release", "root", "frozen", ...); its sequence is remembered at once."""
        head = trust.read_head(self.root, doc, name, self.record.seen(name), now_s)
        self.record.advance(name, head["era"], head["sequence"])
        self.record.save()
        return head

    def accept_release(self, doc: "Buffer", digest: "bytes | None" = None) -> "Map":
        """The verified release (with "files"), once it fits this device. To be called before the first flash write."""
        release = trust.read_release(self.root, doc, digest)
        trust.check_release(release, self.facts())
        return release

    def accept_ops(self, doc: "Buffer", device_id: str, now_s: "int | None") -> "Map":
        """A verified command for this device; that its id has not run before is for the caller to check."""
        return trust.read_ops(self.root, doc, device_id, now_s)

    def failed(self, digest: bytes) -> bool:
        """Whether this release has failed a trial here."""
        return digest in self.record.data["failed"]

    def activate(self, doc: "Buffer", digest: "bytes | None" = None) -> None:
        """Put the release whose files are in `staging` on trial. Then plan_reset("update") and reset."""
        if self.trial:
            raise VerifyError("trial-running")
        release = self.accept_release(doc, digest)
        record.write(self.staging + "/" + layout.MANIFEST, bytes(doc))
        slots.check_files(self.staging, release)
        slots.seal(self.staging, self.secret, release["digest"])
        self.record.begin_trial(1 - self.index, release["digest"], release["version"])
        self.record.save()
