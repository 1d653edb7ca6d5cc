"""Planted defects: each a small change to the device's own source that a real updater has, or had;
the sweep must catch every one, or it proves nothing.

A `Mutant` is a list of substitutions; a text that is no longer in the source is an error here, so
that a defect cannot silently stop being planted. `scenario` is where it shows.
"""

# ruff: noqa: E501 - quotations of source keep their lines

import shutil
from dataclasses import dataclass
from pathlib import Path

HANDOVER = "loader/handover.py"
RECORD = "loader/record.py"
CHOOSE = "loader/choose.py"
START = "loader/start.py"
MAIN = "main.py"
RUNTIME = "node/hal/runtime.py"
SLOTS = "loader/slots.py"
STAGING = "node/core/staging.py"
UPDATE = "node/core/update.py"


@dataclass(frozen=True)
class Mutant:
    """One defect. `imitates` names the real one."""

    name: str
    imitates: str
    scenario: str
    changes: tuple[tuple[str, str, str], ...]
    size: str = "small"

    def plant(self, firmware: Path, target: Path) -> Path:
        """A copy of the firmware with the defect in it."""
        shutil.copytree(firmware, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        for file, old, new in self.changes:
            path = target / file
            source = path.read_text()
            if source.count(old) != 1:
                raise ValueError(f"{self.name}: {file} has {source.count(old)} times: {old!r}")
            path.write_text(source.replace(old, new))
        return target


MUTANTS = (
    Mutant(
        "remove-then-rename",
        "rdehuyss/micropython-ota-updater: deletes the old tree, then renames the new one",
        "update",
        (
            (
                RECORD,
                "        os.rename(path",
                "        try:\n            os.remove(path)\n        except OSError:\n"
                "            pass\n        os.rename(path",
            ),
        ),
    ),
    Mutant(
        "record-written-in-pieces",
        "state files written in place and flushed half way: esp-idf #5727, micropython #5337",
        "update",
        (
            (
                RECORD,
                '        with open(path + layout.TMP, "wb") as f:\n            f.write(data)\n'
                "        os.rename(path + layout.TMP, path)",
                '        with open(path, "wb") as f:\n            f.write(data[:20])\n'
                "            f.flush()\n            f.write(data[20:])",
            ),
        ),
    ),
    Mutant(
        "counter-before-confirm",
        "a security counter raised before the image is confirmed: the way back is refused (MCUboot"
        " design, downgrade prevention)",
        "update",
        (
            (
                HANDOVER,
                '        data["confirmed"] = self.index\n        data["floor"] = max(',
                '        data["floor"] = [self.facts()["era"], self.release["epoch"]]\n'
                "        self._save()\n"
                '        data["confirmed"] = self.index\n        data["floor"] = max(',
            ),
        ),
    ),
    Mutant(
        "counter-after-confirm",
        "a confirmation in two writes: rugix #121, old signed bundles install",
        "update",
        (
            (
                HANDOVER,
                '        data["floor"] = max(data["floor"], [self.facts()["era"], self.release["epoch"]])\n'
                '        data["trial"] = []\n',
                '        data["trial"] = []\n        self._save()\n'
                '        data["floor"] = max(data["floor"], [self.facts()["era"], self.release["epoch"]])\n',
            ),
        ),
    ),
    Mutant(
        "counter-at-install",
        "version as floor at installation, which collides with rollback (RAUC min-bundle-version)",
        "rollback",
        (
            (
                HANDOVER,
                '        self.record["trial"] = [1 - self.index',
                '        self.record["floor"] = [0, release["epoch"]]\n'
                '        self.record["trial"] = [1 - self.index',
            ),
        ),
    ),
    Mutant(
        "trial-spent-on-power-on",
        "ESP-IDF: power loss at the first boot rolls back (PENDING_VERIFY)",
        "update",
        (("loader/layout.py", 'FAULTS = ("watchdog"', 'FAULTS = ("power_on", "watchdog"'),),
    ),
    Mutant(
        "every-start-spends-the-trial",
        "Ropener PR 32: every update reverted at the first power cycle",
        "update",
        ((CHOOSE, "_MAX_STARTS = const(50)", "_MAX_STARTS = const(1)"),),
    ),
    Mutant(
        "one-try-only",
        "MCUboot test swap: reverts at the next reset, whatever its reason",
        "rollback",
        ((CHOOSE, "_MAX_TRIES = const(3)", "_MAX_TRIES = const(1)"),),
    ),
    Mutant(
        "valid-at-boot-start",
        "arduino-esp32 #6936: marked valid before setup() has run",
        "rollback",
        (
            (
                HANDOVER,
                '        self.mode, self.trial = mode, mode == "trial"\n',
                '        self.mode, self.trial = "confirmed", False\n'
                '        self.record["trial"] = []\n',
            ),
        ),
    ),
    Mutant(
        "confirmed-moved-with-the-trial",
        "one pointer for both: no way back once it has moved",
        "rollback",
        (
            (
                HANDOVER,
                '            self.record["trial"][3:] =',
                '            self.record["confirmed"] = self.index\n            self.record["trial"][3:] =',
            ),
        ),
    ),
    Mutant(
        "tries-not-counted-before-running",
        "a boot counter that is written after the application starts: crash loop for ever",
        "rollback",
        (
            (
                HANDOVER,
                "        try:\n            self._save()\n        except OSError:\n            if self.trial:",
                "        try:\n            self.trial or self._save()\n        except OSError:\n            if self.trial:",
            ),
        ),
    ),
    Mutant(
        "failed-release-forgotten",
        "Mender PR 97: endless loop reinstalling the same broken update",
        "rollback",
        ((HANDOVER, "[trial[1]] * failed)", "[])"),),
    ),
    Mutant(
        "failed-noted-after-the-trial-ends",
        "two writes for one decision: hawkBit #3185, the rollback that nobody sees",
        "rollback",
        (
            (
                HANDOVER,
                '                data["failed"] = (data["failed"] + [trial[1]] * failed)[-_MAX_FAILED:]\n'
                '                data["trial"] = []\n',
                '                data["trial"] = []\n                self._save()\n'
                '                data["failed"] = (data["failed"] + [trial[1]] * failed)[-_MAX_FAILED:]\n',
            ),
        ),
    ),
    Mutant(
        "evidence-after-the-record",
        "meta-seapath #85: is there a way to get the log of what failed?",
        "rollback",
        (
            (
                HANDOVER,
                "            if crashed and trial and trial[4]:\n",
                '            if crashed and trial and trial[4] and data["trial"]:\n'
                '                data["trial"][3] = tries\n'
                "                data['trial'][4] += 1\n"
                "                self._save()\n"
                "                data['trial'][4] -= 1\n",
            ),
        ),
    ),
    Mutant(
        "note-outranks-power-loss",
        "a retained reset reason believed after a brown-out: espressif reset-reason reports",
        "rollback",
        (
            (
                START,
                'if not reason or hardware not in ("watchdog", "hard", "soft"):',
                "if not reason:",
            ),
        ),
    ),
    Mutant(
        "note-never-consumed",
        "a stale retained word explains the next crash away",
        "rollback",
        ((START, "        os.remove(base + layout.NOTE)", "        pass"),),
    ),
    Mutant(
        "planned-reset-not-announced",
        "RP2: machine.reset() reads as a watchdog reset, so that an update looks like a crash",
        "update",
        ((UPDATE, '        boot.plan_reset("update")\n', ""),),
    ),
    Mutant(
        "sizes-and-names-trusted",
        "micropython_ota #17: what has the right name is taken to be there",
        "update",
        (
            (
                STAGING,
                "            digest = yield from self._hash(here)\n            matches",
                "            yield 0\n            digest = [e[2] for e in self.wanted if e[1] == size][0]\n            matches",
            ),
        ),
        size="full",
    ),
    Mutant(
        "verified-nowhere-but-in-the-download",
        "glenn20 #9: wrong image, SHA passed, then not bootable",
        "update",
        (
            (
                HANDOVER,
                "        _verifier().check_files(self.staging, release, self.secret)\n",
                "",
            ),
            (
                STAGING,
                "            digest = yield from self._hash(here)\n            matches",
                "            yield 0\n            digest = [e[2] for e in self.wanted if e[1] == size][0]\n            matches",
            ),
        ),
        size="full",
    ),
    Mutant(
        "verify-then-reread",
        "krux: verifies the SD card, then reads it again to install",
        "update",
        (
            (
                UPDATE,
                "                self.blobs += 1\n                return\n",
                "                self.blobs += 1\n"
                "                if attempt == 1:\n"
                "                    staging.forget(index)\n"
                "                    partial.size = 0\n"
                "                    continue\n"
                "                return\n",
            ),
            (
                STAGING,
                "    def missing_bytes(",
                "    def forget(self, index):\n"
                "        self._done[index] = 0\n\n"
                "    def missing_bytes(",
            ),
        ),
    ),
    Mutant(
        "no-flush-before-the-end",
        "rauc and esp-idf #17520: an interrupted download starts again",
        "update",
        ((STAGING, "                self._file.flush()\n", "                pass\n"),),
        size="full",
    ),
    Mutant(
        "download-starts-over",
        "esp-idf #17520: device awake few minutes, update takes 20",
        "update",
        (
            (
                STAGING,
                "            if path != _DOCUMENT and path not in partials:\n",
                "            if True:\n",
            ),
        ),
    ),
    Mutant(
        "resume-without-offset",
        "nerves-hub #80: the part that was there is sent again and appended",
        "update",
        (
            (
                UPDATE,
                "        fetch = Fetch(partial.size, partial.size - partial.size % BLOCK + BLOCK, limit)\n            fetch.sink",
                "        fetch = Fetch(0, BLOCK, limit)\n            fetch.sink",
            ),
        ),
        size="full",
    ),
    Mutant(
        "moved-instead-of-copied",
        "micropython_ota #17: files of the running version replaced as they come",
        "update",
        (
            (
                STAGING,
                "                for i in self._undone(size, digest):\n                    yield from self._copy(source, i)\n",
                "                for i in self._undone(size, digest):\n"
                "                    self._make_parents(self.wanted.path(i))\n"
                '                    self._files.rename(source, self._slot + "/" + self.wanted.path(i))\n'
                "                    self._done[i] = 1\n"
                "                    break\n",
            ),
        ),
        size="full",
    ),
    Mutant(
        "updated-in-place",
        "Senko, ugit: the running files are overwritten one by one",
        "update",
        (
            (
                UPDATE,
                "Staging(self._files, self._boot.staging, self._boot",
                "Staging(self._files, self._boot.slot, self._boot",
            ),
        ),
    ),
    Mutant(
        "half-written-file-counts",
        "ugit #5: blank files after an update",
        "update",
        (
            (
                STAGING,
                "        if self._undone_of_size(size):\n            digest = yield from self._hash(here)\n",
                "        for i, entry in enumerate(self.wanted):\n            if entry[0] == path and size:\n                self._done[i] = 1\n                return\n        if self._undone_of_size(size):\n            digest = yield from self._hash(here)\n",
            ),
            (
                STAGING,
                "                file.write(view[:count])\n                turn += 1\n",
                "                file.write(view[:count])\n                file.flush()\n                turn += 1\n",
            ),
        ),
    ),
    Mutant(
        "source-removed-before-the-copy-is-safe",
        "esphome PR 15720: brick after an interrupted upload",
        "update",
        (
            (
                STAGING,
                '        with self._files.open(partial.path, "rb") as file:\n            try:\n',
                '        with self._files.open(partial.path, "rb") as file:\n            data = file.read()\n'
                "        self._files.remove(partial.path)\n"
                "        import io\n\n"
                "        with io.BytesIO(data) as file:\n            try:\n",
            ),
            (
                STAGING,
                '                raise VerifyError("blob-data", path)\n        self._files.remove(partial.path)\n',
                '                raise VerifyError("blob-data", path)\n',
            ),
        ),
        size="full",
    ),
    Mutant(
        "strays-left-beside-the-release",
        "MicroPythonOS PR 240: a stale lib/ shadows the new modules",
        "update",
        (
            (STAGING, "        self._files.remove(here)\n", "        pass\n"),
            (SLOTS, '    remove_strays(slot, "", keep)\n', "    pass\n"),
        ),
        size="full",
    ),
    Mutant(
        "old-head-accepted-again",
        "TUF rollback attack; rauc and pithead #856: any old signed bundle installs",
        "update",
        (
            (
                HANDOVER,
                '        heads[name] = [head["era"], head["sequence"]]\n        self._save()\n',
                "",
            ),
        ),
    ),
    Mutant(
        "root-written-in-place",
        "a trust anchor truncated by a power cut: nothing verifies any more",
        "factory",
        (
            (
                HANDOVER,
                "        record.write(self.base + layout.ROOT, bytes(doc))\n",
                '        with open(self.base + layout.ROOT, "wb") as f:\n'
                "            f.write(bytes(doc[:99]))\n            f.flush()\n            f.write(bytes(doc[99:]))\n",
            ),
        ),
    ),
    Mutant(
        "runtime-never-marked-valid",
        "Ropener PR 32: every update silently reverted, as nobody marked it valid",
        "runtime",
        (
            (
                RUNTIME,
                "            Partition.mark_app_valid_cancel_rollback()\n",
                "            pass\n",
            ),
        ),
        size="ota",
    ),
    Mutant(
        "runtime-not-compared",
        "micropython #15356, #13078: incompatible .mpy after the runtime changed alone",
        "runtime",
        (
            (
                HANDOVER,
                'refuse(runtime and runtime["build"] != self.device["build"], "runtime-running")',
                "pass",
            ),
        ),
        size="ota",
    ),
    Mutant(
        "application-rolled-back-alone",
        "the application goes back, the runtime stays: nothing left that fits it",
        "runtime-rollback",
        ((MAIN, 'if safe.reason != "runtime" and', "if False and"),),
        size="ota",
    ),
    Mutant(
        "failed-forgotten-with-the-runtime",
        "Mender PR 97 again: what was only known in memory when the other runtime started",
        "runtime-rollback",
        (
            (
                HANDOVER,
                "                self._save()  # that a trial is over: another runtime may start next\n",
                "",
            ),
        ),
        size="ota",
    ),
)

# Caught within seconds: planted on every run of the tests, the others by `make faults`.
SAMPLE = tuple(
    mutant
    for mutant in MUTANTS
    if mutant.name
    in (
        "counter-at-install",
        "one-try-only",
        "sizes-and-names-trusted",
        "verify-then-reread",
        "download-starts-over",
        "updated-in-place",
        "strays-left-beside-the-release",
        "root-written-in-place",
        "application-rolled-back-alone",
    )
)
