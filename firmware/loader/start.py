"""The first Python of ours that runs: reset cause, slot, watchdog, application, and if it fails.

Started by /main.py as `loader.start.run()`, after /boot.py has pinned sys.path: a hashlib.py on
the flash must not stand in for the builtin that verifies it. Everything the loader needs is
imported here, before a slot is on the path.
"""

import gc
import os
import sys
import time

from micropython import const

from loader import cbor, layout, record
from loader.handover import Boot

_TRACE_BYTES = const(1000)  # kept of a traceback: its end
_REST_S = const(60)  # between the starts of a confirmed release that fails again and again
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
    facts["micropython"] = list(sys.implementation.version[:3])
    facts.update(mpy=getattr(sys.implementation, "_mpy", 0) & 0xFF, build=sys.version)
    return facts


def hardware_cause(machine: "layout.Item") -> str:
    """machine.reset_cause() by one set of names. ESP32 reports a brown-out as a power-on."""
    words = _CAUSES.split()
    values = [getattr(machine, name + "_RESET", None) for name in words[::2]]
    return dict(zip(values, words[1::2])).get(machine.reset_cause(), "hard")


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
    try:
        execute(boot)
        # A fault after a fault, and nothing to go back to: else it would go on ten times a second,
        # and write to the flash each time.
        again = not boot.trial and boot.cause in layout.FAULTS
        for _ in range(_REST_S if again else 0):
            time.sleep(1)
            if boot.watchdog:
                boot.watchdog.feed()
    except KeyboardInterrupt:
        boot.plan_reset("interrupt")
        # The watchdog must not end the developer's session: an RP2040's is paused (CTRL.ENABLE, by
        # the register's clearing alias, as the SDK does it), an ESP32's gets more time.
        if boot.device["chip"] == "rp2040":
            machine.mem32[0x4005B000] = 1 << 30
        elif boot.watchdog:
            machine.WDT(timeout=3600_000)
        raise
    machine.reset()


def execute(boot: Boot) -> None:
    """Run the application until it fails; it has no other way to end."""
    stage, text = "import", "returned"
    try:
        import node.main  # from the slot, now the last entry of the path

        stage = "run"
        node.main.run(boot)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - SystemExit and MemoryError too
        gc.collect()
        try:
            # by way of the file that evidence is written to next: memory may have run out
            path = boot.base + layout.EVIDENCE + layout.TMP
            with open(path, "w") as f:
                sys.print_exception(error, f)  # type: ignore[attr-defined]
            text = "".join([chr(byte) for byte in record.read(path)[-_TRACE_BYTES:]])
        except Exception:  # noqa: BLE001 - no room on the flash, or in memory
            text = type(error).__name__
    boot.fail("exception", stage, text)
