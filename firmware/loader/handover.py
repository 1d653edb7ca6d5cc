"""What the loader hands to the application: its decisions, and the only doors to change them.

Owns evidence, notes, and the order of writes. Every method leaves the flash in a state that boots,
wherever the power is cut: one rename is one decision, and what must be true before it has been
written and verified before it. The application keeps this module in memory: the modules and keys
that verify are loaded by the methods that need them, and may be forgotten in between.
"""

import os

from micropython import const

from loader import layout, record
from loader.cbor import VerifyError, refuse

_MAX_FAILED = const(8)  # releases remembered as failed; the oldest is forgotten
_MAX_HEADS = const(4)  # head names whose sequence is remembered
_MAX_EVIDENCE = const(4)  # pieces of evidence kept; the oldest is dropped


def _verifier() -> "layout.Item":
    from loader import slots

    return slots


class Boot:
    """Handed to `node.main.run(boot)`.

    slot        "/a" or "/b": where this release is; `index` is its place in layout.SLOTS
    staging     the other slot, to be written by an update
    release     layout.RELEASE_FIELDS without "files", but with "digest" and "revoked" (see slots)
    version, digest   of the release
    mode        "confirmed", "trial" (confirm() is expected), "fallback" (confirmed slot broken)
    trial       mode is "trial"
    tries       tries this trial has spent
    cause       why the device started: one of layout's causes
    reason      what plan_reset() was told, when the reset was planned
    device      board.cbor (layout.BOARD_FIELDS); mpy, micropython, build of the running runtime
    root        the trust root in force (layout.ROOT_FIELDS)
    watchdog    object with feed(), or None
    reset       machine.reset
    """

    def __init__(self, base: str, device: "layout.Map", cause: str, reason: str) -> None:
        self.base = base  # "" on a device; tests put the filesystem elsewhere
        self.device = device
        self.cause, self.reason = cause, reason
        self.record = record.load(base + layout.RECORD)
        self.secret = record.read(base + layout.SECRET)
        self.watchdog: "layout.Item" = None
        self.reset: "layout.Item" = None
        self.mode, self.version, self.digest, self.trial, self.tries = "", "", b"", False, 0
        self.release: "layout.Map" = {}
        self._use(1)

    @property
    def root(self) -> "layout.Item":
        try:
            # read each time: its keys are several kB that would stay on the heap
            return _verifier().trust.stored_root(record.read(self.base + layout.ROOT))
        except VerifyError:
            # nothing verifies, but a sealed slot still boots
            return {"version": 0, "roles": {role: [1, [], 0] for role in layout.ROLES}}

    def _use(self, index: int) -> None:
        self.index = index
        self.slot = self.base + layout.SLOTS[index]
        self.staging = self.base + layout.SLOTS[1 - index]

    # --- before the application runs

    def select(self) -> bool:
        """Choose a slot, verify it, bring the record up to date; False if no slot can be run."""
        from loader.choose import choose

        data = self.record
        trial = list(data["trial"])
        crashed = self.cause in ("watchdog", "hard")
        bad = 0
        while True:
            mode, index, tries, over, failed = choose(data["confirmed"], trial, self.cause, bad)
            if crashed and trial and trial[4]:
                # before the record: a try is never spent without its evidence
                self.add_evidence((trial[2], trial[1], tries), self.cause, "run", "")
                crashed = False
            if over and data["trial"]:
                data["failed"] = (data["failed"] + [trial[1]] * failed)[-_MAX_FAILED:]
                data["trial"] = []
            if index < 0:
                self._save()  # that a trial is over: another runtime may start next
                return False
            self._use(index)
            try:
                self._open(self.cause == "deep_sleep" and not bad)
                self._settle(mode, tries)
                break
            except Exception as error:  # noqa: BLE001 - whatever it is, the other may be sound
                text = layout.SLOTS[index] + ": " + (getattr(error, "code", "") or repr(error))
                self.add_evidence(("", b"", 0), "verify", "verify", text)
                bad |= 1 << index
        if crashed:
            # with a trial that had not started, what crashed is the release before it
            ran = ("", b"", 0) if trial else (self.version, self.digest, 0)
            self.add_evidence(ran, self.cause, "run", "")
        return True

    def _open(self, wake: bool) -> None:
        # once a slot has been found bad, the other one's seal is not enough either
        release = wake and _verifier().open_manifest(self.slot, self.secret)
        if not release:
            root = self.root
            release = _verifier().open_manifest(self.slot, self.secret, root)
            _verifier().trust.check_release(release, self.facts(root))
            _verifier().check_files(self.slot, release, self.secret)
        runtime = release.get("runtime")
        refuse(runtime and runtime["build"] != self.device["build"], "runtime-running")
        del release["files"]  # several kB that would stay on the heap
        self.release = release
        self.version, self.digest = release["version"], release["digest"]

    def _settle(self, mode: str, tries: int) -> None:
        """Write what has been decided, before anything of it is executed."""
        self.mode, self.trial = mode, mode == "trial"
        self.tries = tries * self.trial
        if self.trial:
            self.record["trial"][3:] = [tries, self.record["trial"][4] + 1]
        else:
            self.record["confirmed"] = self.index  # a fallback stays
        try:
            self._save()
        except OSError:
            if self.trial:  # whose tries could then never be counted
                raise

    def _save(self) -> None:
        record.write_map(self.base + layout.RECORD, self.record)

    def facts(self, root: "layout.Item" = None) -> "layout.Map":
        """The device as trust.check_release wants it."""
        era = (root or self.root)["roles"]["release"][2]
        return dict(self.device, floor=self.record["floor"], failed=self.record["failed"], era=era)

    # --- health

    def confirm(self) -> None:
        """The release on trial has met its health contract: it is the one to boot from now on."""
        data = self.record
        data["confirmed"] = self.index
        data["floor"] = max(data["floor"], [self.facts()["era"], self.release["epoch"]])
        data["trial"] = []
        self._save()  # all of it or nothing of it
        self.mode, self.trial = "confirmed", False

    def plan_reset(self, reason: str) -> None:
        """Say why the next reset happens: else it reads as a fault.

        "sleep" before a deep sleep, where waking up reads as a reset (RP2; not ESP32).
        """
        record.write(self.base + layout.NOTE, reason.encode())

    def fail(self, cause: str, stage: str, text: str) -> None:
        """Note a fault of this release ("exception", "unhealthy"); then reset, and it counts."""
        try:
            ran = (self.version, self.digest, self.tries + self.trial)
            self.add_evidence(ran, cause, stage, text)
            self.plan_reset(cause)
        except Exception:  # noqa: BLE001 - no room on the flash, or in memory
            pass  # the reset then reads as a watchdog's or a hard one: a fault as well

    # --- evidence

    def evidence(self) -> "list[layout.Map]":
        """What went wrong and has not been reported, oldest first; for the fields see layout."""
        return record.read_map(self.base + layout.EVIDENCE) or []

    def add_evidence(self, ran: "layout.Item", cause: str, stage: str, text: str) -> None:
        """Keep what is known of a fault of `ran`, (version, digest, tries spent)."""
        entry = dict(zip(("version", "digest", "tries"), ran), cause=cause, stage=stage, text=text)
        kept = self.evidence()
        # one entry for equal faults; and if nothing is new, nothing is written: a confirmed
        # release in a crash loop must not wear the flash out
        if entry not in kept:
            kept = [old for old in kept if dict(old, tries=ran[2]) != entry] + [entry]
            try:
                record.write_map(self.base + layout.EVIDENCE, kept[-_MAX_EVIDENCE:])
            except OSError:
                pass  # a full or failing disk must not keep the device from booting or resetting

    def evidence_reported(self) -> None:
        """The server has it: forget it."""
        if self.evidence():
            os.remove(self.base + layout.EVIDENCE)

    # --- documents

    def accept_root(self, doc: "layout.Buffer") -> None:
        """Replace the trust root by the next one. What is installed stays bootable (see slots)."""
        _verifier().trust.next_root(self.root, doc)
        record.write(self.base + layout.ROOT, bytes(doc))

    def accept_head(
        self, doc: "layout.Buffer", name: str, now_s: "int | None" = None
    ) -> "layout.Item":
        """The verified head, with "era" and "frozen"; its sequence is remembered at once."""
        heads = self.record["heads"]
        head = _verifier().trust.read_head(self.root, doc, name, heads.get(name) or [0, 0], now_s)
        # none is forgotten to make room: that would let an old head of it back in
        refuse(name not in heads and len(heads) >= _MAX_HEADS, "head-names")
        heads[name] = [head["era"], head["sequence"]]
        self._save()
        return head

    def accept_release(self, doc: "layout.Buffer", digest: "bytes | None" = None) -> "layout.Item":
        """The verified release, once it fits this device: to be asked before any flash write."""
        trust, root = _verifier().trust, self.root
        release: "layout.Map" = trust.parse_release(trust.verify(root, "release", doc), digest)
        trust.check_release(release, self.facts(root))
        return release

    def failed(self, digest: bytes) -> bool:
        """Whether this release has failed a trial here."""
        return digest in self.record["failed"]

    def activate(self, doc: "layout.Buffer", digest: "bytes | None" = None) -> None:
        """Put the release in `staging` on trial; then plan_reset("update") and reset."""
        refuse(self.trial, "trial-running")
        release = self.accept_release(doc, digest)
        digest = release["digest"]
        record.write(self.staging + "/" + layout.MANIFEST, bytes(doc))
        _verifier().check_files(self.staging, release, self.secret)
        self.record["trial"] = [1 - self.index, digest, release["version"], 0, 0]
        self._save()
