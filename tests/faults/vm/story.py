"""What a device does in a sweep, and the oracle that watches it.

The stories (tests/faults/inputs.py): "update" ends with the new release confirmed; "factory" is
the same on the first boot of a factory image, with a new trust root on the way; in "rollback" the
new release fails its three tries, each in another way, and the old one has to come back with
evidence of it.

The oracle does not ask the loader: it reads the slot that runs and compares every byte with the
release it must be. Its rules: what runs is the old or the target release, whole, with nothing
beside it (else "mixed"); every boot gets somewhere ("brick" otherwise); and ("rule") once
activated the target runs until its own faults have spent the tries, once confirmed it stays, a
power cut spends no try, the anti-rollback floor rises with the confirmation and not before, a
failed release is remembered and has left evidence, nothing that arrived is fetched again beyond a
block per cut.
"""

# ruff: noqa: UP031 - MicroPython

import hashlib
import os
import sys

import node
from device import BASE, Finished, Machine, Reset, Wrong, format_flash, mount, unmount
from loader import layout, record, start, trust
from memory_server import Server
from node.core.check import CURRENT, REBOOT, REFUSED, Config
from node.core.fetch import Fetch
from node.core.staging import BLOCK
from node.core.update import Update
from node.hal.slotfiles import SlotFiles
from nor import PowerCut

HEAD = "stable"
URL = "http://h:80/update"
_DIRECTORY = 0x4000
_CAUSES = {"exception", "watchdog", "unhealthy"}

_real_pss_verify = trust.pss_verify
_verified = {}


def _pss_verify(modulus, digest, signature):
    """The loader's own, once per distinct question: it is a pure function, and a boot asks it five
    times.
    """
    question = bytes(modulus[:16]) + digest + bytes(signature)
    if question not in _verified:
        _verified[question] = _real_pss_verify(modulus, digest, signature)
    return _verified[question]


trust.pss_verify = _pss_verify
_loader_execute = start.execute


class _Raises:
    """Stands for the node.main of the bad release."""

    @staticmethod
    def run(boot):
        raise ValueError("sweep")


node.main = sys.modules["node.main"] = _Raises


def tree(folder, prefix=""):
    """Every file below a folder."""
    found = []
    for entry in list(os.ilistdir(folder)):
        if entry[1] == _DIRECTORY:
            found.extend(tree(folder + "/" + entry[0], prefix + entry[0] + "/"))
        else:
            found.append(prefix + entry[0])
    return found


def sha256_file(path):
    h = hashlib.sha256()
    with open(path, "rb") as file:
        h.update(file.read())
    return h.digest()


def stored_record():
    """What the boot record on flash says, whatever the loader believes."""
    return record.read_map(BASE + layout.RECORD)


class Story:
    """One scenario on one board. `image` is the flash to start from; `tell(cuts)` lives it
    once.
    """

    def __init__(self, inputs, scenario, board):
        self._releases = inputs["releases"]
        self._scenario = inputs["scenarios"][scenario]
        self._board = inputs["boards"][board]
        self._root = inputs["root"]
        self._target = self._releases[self._scenario["target"]]
        self._hashes = {
            release["digest"]: {p: hashlib.sha256(d).digest() for p, d in release["files"].items()}
            for release in self._releases.values()
        }
        self._machine = Machine(self._board["port"])
        self.flash = self._manufacture()
        self.image = self.flash.image()

    # --- the factory

    def _manufacture(self):
        flash = self._format()
        mount(flash)
        for folder in ("/outpost", "/a", "/b", "/data"):
            os.mkdir(BASE + folder)
        self._write(layout.BOARD, self._board["facts"])
        self._write(layout.ROOT, self._root)
        self._install("/a", self._releases["old"])
        if not self._scenario["factory"]:
            self._install("/b", self._releases["past"])
            self._write(layout.SECRET, bytes(32))
            known = {
                "confirmed": 0,
                "trial": [],
                "floor": [0, 1],
                "failed": [],
                "heads": {HEAD: [0, 6]},
            }
            record.write_map(BASE + layout.RECORD, known)
        unmount()
        return flash

    def _format(self, extra_blocks=0):
        return format_flash(self._board["blocks"], self._board["prog"], extra_blocks)

    def _write(self, path, data):
        parts = path.split("/")
        for depth in range(2, len(parts)):
            try:
                os.mkdir(BASE + "/".join(parts[:depth]))
            except OSError:
                pass
        with open(BASE + path, "wb") as file:
            file.write(data)

    def _install(self, slot, release):
        self._write(slot + "/" + layout.MANIFEST, release["document"])
        for path, data in release["files"].items():
            self._write(slot + "/" + path, data)

    # --- a life

    def tell(self, live, cuts=()):
        """(operations, operations after the last cut, refetched bytes per cut). Raises Wrong."""
        self.flash.restore(self.image)
        self._server = Server(self._scenario["server"])
        self._server.chunk = 1460
        self._faults = 0
        self._activated = self._confirmed = self._evidence = self._crashed = False
        start.execute = self._execute
        boots, power = live(self.flash, cuts, self._machine, self._boot)
        flash = power.flash
        if flash.violations or flash.misaligned:
            raise Wrong("rule", "flash written against its rules")
        return flash.ops, flash.ops - power._start, self._refetched(power.cuts_done)

    def _boot(self, power):
        self._power = power
        self._server.hang_up()
        self._start(power)

    def _start(self, power):
        start.run(BASE)

    def _refetched(self, cuts):
        total = sum(
            [
                self._server.refetched(path)
                for path in self._server.sent
                if "/heads/" not in path  # asked anew by design: it says how fresh we are
            ]
        )
        per_cut = (total + cuts - 1) // cuts if cuts else total
        if per_cut > BLOCK or (total and not cuts):
            raise Wrong("rule", "fetched %d bytes again after %d cuts" % (total, cuts))
        return per_cut

    # --- the application

    def _execute(self, boot):
        """In place of importing node.main from the slot."""
        self._check_running(boot)
        if boot.digest == self._target["digest"] and self._scenario["target"] == "bad":
            self._crash(boot)
        if boot.trial:
            self._check_before_confirmation(boot)
            boot.confirm()
            self._confirmed = self._confirmed or not self._power.is_cut
        outcome = self._update(boot)
        if outcome == REBOOT:
            if self._faults >= 3:
                raise Wrong("rule", "installed again what had failed")
            self._activated = True
            boot.reset()
        self._check_end(boot, outcome)
        raise Finished()

    def _crash(self, boot):
        """The bad release: an exception, then a hang, then a health deadline missed."""
        way = boot.tries
        self._crashed = True
        if way == 0:
            _loader_execute(boot)
        elif way == 2:
            boot.fail("unhealthy", "health", "publishes")
        if self._power.is_cut:
            raise PowerCut()
        self._faults += 1
        raise Reset("watchdog" if way == 1 else "reset")

    def _update(self, boot):
        if self._evidence:
            boot.evidence_reported()
        update = Update(boot, SlotFiles(), self._config())
        for action in update.run():
            if self._power.is_cut:
                raise PowerCut()
            if isinstance(action, Fetch):
                self._server.carry(action)
        if self._power.is_cut:
            raise PowerCut()
        self._code = update.code
        return update.outcome

    def _config(self):
        return Config(URL, HEAD)

    def _read_evidence(self, boot):
        """What the fleet would be told; remembered as told, for the cut that comes right after."""
        causes = set()
        for entry in boot.evidence():
            if self._is_evidence_of_nothing(entry):
                raise Wrong("rule", "evidence of nothing: {}".format(entry["text"][-60:]))
            causes.add(entry["cause"])
        return causes

    def _is_evidence_of_nothing(self, entry):
        return entry["digest"] != self._target["digest"] or not self._crashed

    def _evidence_needed(self):
        return _CAUSES

    def _taken_back(self):
        return False

    # --- the oracle

    def _check_running(self, boot):
        hashes = self._hashes.get(boot.digest)
        if boot.digest not in (self._releases["old"]["digest"], self._target["digest"]):
            raise Wrong("mixed", f"runs {boot.version}, which is neither old nor new")
        found = {path: sha256_file(boot.slot + "/" + path) for path in tree(boot.slot)}
        for name in (layout.MANIFEST, layout.SEAL):
            found.pop(name, None)
        if found != hashes:
            wrong = sorted([p for p in set(found) | set(hashes) if found.get(p) != hashes.get(p)])
            raise Wrong("mixed", f"{wrong} of {boot.version}")
        self._check_turn(boot)

    def _check_turn(self, boot):
        """Whether it is this release's turn to run."""
        new = boot.digest == self._target["digest"]
        data = stored_record()
        if self._confirmed and not new:
            raise Wrong("rule", "went back from a confirmed release")
        if self._activated and not new and self._faults < 3 and not self._taken_back():
            raise Wrong("rule", "rolled back after %d faults" % self._faults)
        if new and boot.tries > self._faults:
            raise Wrong("rule", "%d tries spent by %d faults" % (boot.tries, self._faults))
        if boot.trial and data["floor"] > [0, 1]:
            raise Wrong("rule", "floor raised before the confirmation")
        causes = self._read_evidence(boot)
        if not new and self._faults >= 3:
            if not self._evidence and not self._evidence_needed() <= causes:
                raise Wrong("rule", f"rolled back with evidence only of {sorted(causes)}")
            self._evidence = True

    def _check_before_confirmation(self, boot):
        if stored_record()["confirmed"] == boot.index:
            raise Wrong("rule", "confirmed before it was found healthy")

    def _check_end(self, boot, outcome):
        data = stored_record()
        bad = self._scenario["target"] == "bad"
        expected = self._releases["old"] if bad else self._target
        code = "failed-before" if bad else ""
        if (outcome, self._code) != ((REFUSED if bad else CURRENT), code):
            raise Wrong("brick", f"stuck: {outcome} {self._code}")
        rotated = [path for path in self._scenario["server"] if "/roots/" in path]
        for wrong, what in (
            (boot.digest != expected["digest"], "wrong release at the end: " + boot.version),
            (data["confirmed"] != boot.index or data["trial"], "record at the end"),
            (not bad and data["floor"][1] != expected["epoch"], "floor at the end"),
            (data["heads"] != {HEAD: [len(rotated), 7]}, "sequence at the end"),
            (
                data["failed"] != ([self._target["digest"]] if bad else []),
                "failed list at the end",
            ),
            (boot.root["version"] != 1 + len(rotated), "trust root at the end"),
            (layout.NOTE.split("/")[-1] in os.listdir(BASE + layout.HOME), "a note left over"),
        ):
            if wrong:
                raise Wrong("rule", what)
