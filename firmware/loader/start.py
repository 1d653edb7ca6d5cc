"""The first Python of ours that runs: reset cause, slot, watchdog, application, and if it fails.

Started by /main.py as `loader.start.run()`, after /boot.py has pinned sys.path: a hashlib.py on
the flash must not stand in for the builtin that verifies it. Everything the loader needs is
imported here, before a slot is on the path.
"""

import gc
import os
import sys

from micropython import const

from loader import cbor, layout, record
from loader.handover import Boot

_TRACE_BYTES = const(1000)  # kept of a traceback: its end
# machine's names of reset causes, and ours
_CAUSES = "PWRON power_on BROWNOUT brown_out DEEPSLEEP deep_sleep WDT watchdog SOFT soft"
# fields of board.cbor, see layout
_BOARD = const("product str board str chip str hw int slot_budget int wdt_ms int")

safe: "Boot | None" = None  # in safe mode: what the REPL has to work with


def device_facts(base: str) -> "layout.Map":
    """board.cbor, and what the interpreter says of itself. A damaged file matches no release."""
    try:
        facts = cbor.check(cbor.decode(record.read(base + layout.BOARD)), _BOARD)
    except cbor.VerifyError:
        facts = {"product": "", "board": ""}
    facts["mpy"] = getattr(sys.implementation, "_mpy", 0) & 0xFF
    facts["micropython"] = list(sys.implementation.version[:3])
    facts["build"] = sys.version
    return facts


def hardware_cause(machine: "layout.Item") -> str:
    """machine.reset_cause() by one set of names. ESP32 reports a brown-out as a power-on."""
    words = _CAUSES.split()
    for name, cause in zip(words[::2], words[1::2]):
        if getattr(machine, name + "_RESET", None) == machine.reset_cause():
            return cause
    return "hard"


def reset_cause(base: str, hardware: str) -> "tuple[str, str]":
    """(cause, reason): what the hardware says, refined by the note that the last run left.

    machine.reset() reads as a watchdog reset on RP2 and as a hard one on ESP32, like a panic; only
    the note tells them apart. It does not outrank a loss of power between its writing and the
    reset.
    """
    reason = record.read(base + layout.NOTE).decode()
    if not reason or hardware not in ("watchdog", "hard", "soft"):
        return hardware, ""
    planned = "deep_sleep" if reason == "sleep" else "planned"
    return reason if reason in layout.FAULTS else planned, reason


def traceback_text(base: str, error: BaseException) -> str:
    """The end of the traceback, by way of the file that evidence is written to next.

    Not in memory: it may be memory that has run out.
    """
    path = base + layout.EVIDENCE + layout.TMP
    with open(path, "w") as f:
        sys.print_exception(error, f)  # type: ignore[attr-defined]
    return "".join([chr(byte) for byte in record.read(path)[-_TRACE_BYTES:]])


def run(base: str = "") -> None:
    """Boot. Returns in safe mode only; raises KeyboardInterrupt to a developer at the REPL."""
    global safe
    import machine  # type: ignore[import-not-found]  # here, so that a host can import the rest

    sys.path[:] = [".frozen", base + layout.HOME]
    if len(record.read(base + layout.SECRET)) != 32:
        # made once; RP2's urandom is raw oscillator bits: condense many of them
        record.write(base + layout.SECRET, cbor.sha256(os.urandom(1024) + machine.unique_id()))
    boot = Boot(base, device_facts(base), *reset_cause(base, hardware_cause(machine)))
    boot.reset = machine.reset
    ready = boot.select()
    if record.read(base + layout.NOTE):
        # after the record: a cut between them is a power-on, which outranks the note
        os.remove(base + layout.NOTE)
    if not ready:
        # Hook: accept_*() and activate() of `loader.start.safe` install a signed release, from
        # the REPL, into `safe.staging`; the watchdog is not armed.
        safe = boot
        print("outpost: safe mode", boot.evidence())
        return
    if boot.device["wdt_ms"]:
        boot.watchdog = machine.WDT(timeout=boot.device["wdt_ms"])
    sys.path.append(boot.slot)
    gc.collect()
    execute(boot)
    machine.reset()


def execute(boot: Boot) -> None:
    """Run the application until it fails; it has no other way to end."""
    stage, text = "import", "returned"
    try:
        import node.main  # from the slot, now the last entry of the path

        stage = "run"
        node.main.run(boot)
    except KeyboardInterrupt:
        # the watchdog goes on on RP2: that reset is not the release's fault
        boot.plan_reset("interrupt")
        raise
    except BaseException as error:  # noqa: BLE001 - SystemExit and MemoryError too
        gc.collect()
        try:
            text = traceback_text(boot.base, error)
        except OSError:
            text = repr(error)[:_TRACE_BYTES]
    boot.fail("exception", stage, text)
