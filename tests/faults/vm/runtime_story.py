"""The stories with two halves: a release that brings its own MicroPython, on an ESP32 with the OTA
layout.

"runtime" ends with both halves new and confirmed, "runtime-rollback" with both old. One more rule:
at every boot the release that runs is the one that names the runtime that runs; anything else is
"mixed". What power cuts may do more than in the other stories: the bootloader takes a runtime back
that was cut off before it was marked valid, and the update is then made again.
"""

# ruff: noqa: UP031 - MicroPython

import sys

import ota
from device import BASE, Wrong
from loader import start
from story import Story

_real_facts = start.device_facts


class RuntimeStory(Story):
    def __init__(self, inputs, scenario, board):
        self._image = inputs["scenarios"][scenario]["image"]
        self._ota = ota.Ota(inputs["boards"][board]["blocks"])
        sys.modules["esp32"] = ota.module(self._ota)
        from node.hal import runtime

        self._runtime = runtime
        self._bound = {r["digest"]: r["build"] for r in inputs["releases"].values()}
        self._main = _read_main()
        super().__init__(inputs, scenario, board)

    def _format(self):
        flash = super()._format(self._ota.extra_blocks)
        self._ota.attach(flash)
        self._ota.manufacture(self._image)
        return flash

    def _start(self, power):
        self._ota.attach(power.flash)
        self._build = self._ota.boot()
        start.device_facts = self._facts
        # the device's own main.py, but for where the filesystem is
        exec(self._main, {})

    def _facts(self, base):
        facts = _real_facts(base)
        facts["build"] = self._build
        return facts

    def _execute(self, boot):
        if self._bound[boot.digest] != self._build:
            raise Wrong("mixed", "%s runs under %s" % (boot.version, self._build))
        self._runtime.mark_valid()
        super()._execute(boot)

    def _config(self):
        config = super()._config()
        config.spare = self._runtime.spare
        return config

    def _taken_back(self):
        """A cut in the first run of a runtime may have ended the trial; the next one starts from
        nothing.
        """
        if self._power.cuts_done:
            self._activated = False
            return True
        return False

    def _is_evidence_of_nothing(self, entry):
        return entry["cause"] != "verify" and super()._is_evidence_of_nothing(entry)

    def _evidence_needed(self):
        return {"unhealthy"}  # the loader keeps four entries, and the taking back made some

    def _check_end(self, boot, outcome):
        super()._check_end(boot, outcome)
        entry = self._ota._by_sequence()
        if entry and self._ota._read(entry[0])[1] == 1:
            raise Wrong("rule", "the runtime was not marked valid")


def _read_main():
    for folder in sys.path:
        try:
            with open(folder + "/main.py") as file:
                text = file.read()
        except OSError:
            continue
        if "loader.start.run()" in text:
            return text.replace("loader.start.run()", "loader.start.run(%r)" % BASE)
    raise OSError("main.py")
