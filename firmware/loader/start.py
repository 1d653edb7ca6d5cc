"""The first Python of ours that runs: the reset cause, the slot, the watchdog, the application, and what if it fails.

Started by /main.py as `loader.start.run()`, after /boot.py has pinned sys.path: a hashlib.py on the flash must not
stand in for the builtin that verifies it. Everything the loader needs is imported here, before a slot is on the path.
"""

import gc
import hashlib
import os
import sys

from loader import cbor, handover, layout, record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WATCHDOG_MS = 8000  # an RP2040's watchdog ends at 8388 ms
_NOTES = {
    layout.EXCEPTION: layout.EXCEPTION,
    layout.UNHEALTHY: layout.UNHEALTHY,
    "sleep": layout.DEEP_SLEEP,
}


def device_facts(base: str) -> "dict[str, Any]":
    """board.cbor, and what the interpreter says of itself. A damaged board file matches no release: safe mode."""
    runtime = sys.implementation
    try:
        facts = cbor.check(cbor.decode(record.read(base + layout.BOARD)), layout.BOARD_FIELDS)
    except cbor.VerifyError:
        facts = {"product": "", "board": "", "chip": "", "hw": 0, "slot_budget": 0, "wdt_ms": 0}
    facts["mpy"] = getattr(runtime, "_mpy", 0) & 0xFF
    facts["micropython"] = list(runtime[1][:3])  # type: ignore[index]
    facts["build"] = sys.version
    return facts


def hardware_cause(machine: "Any") -> str:
    """machine.reset_cause() by one set of names. ESP32 reports a brown-out as a power-on."""
    value = machine.reset_cause()
    for name, cause in (
        ("PWRON_RESET", layout.POWER_ON),
        ("BROWNOUT_RESET", layout.BROWN_OUT),
        ("DEEPSLEEP_RESET", layout.DEEP_SLEEP),
        ("WDT_RESET", layout.WATCHDOG),
        ("SOFT_RESET", layout.SOFT),
    ):
        if getattr(machine, name, None) == value:
            return cause
    return layout.HARD


def reset_cause(base: str, hardware: str) -> "tuple[str, str]":
    """(cause, reason): what the hardware says, refined by the note that the last run left.

    machine.reset() reads as a watchdog reset on RP2 and as a hard one on ESP32, like a panic; only the note tells them
    apart. A note does not outrank a loss of power between writing it and the reset.
    """
    reason = str(record.read(base + layout.NOTE, 32), "utf-8")
    if not reason or hardware not in (layout.WATCHDOG, layout.HARD, layout.SOFT):
        return hardware, ""
    return _NOTES.get(reason, layout.PLANNED), reason


def ensure_secret(base: str, unique: bytes) -> None:
    """Make the device's secret once. RP2's urandom is raw oscillator bits: condense many of them."""
    if len(record.read(base + layout.SECRET, 64)) != 32:
        record.write(base + layout.SECRET, hashlib.sha256(os.urandom(1024) + unique).digest())


def traceback_text(base: str, error: BaseException) -> str:
    """The end of the traceback, by way of a file: it may not fit the heap that has just run out."""
    path = base + layout.TRACE
    with open(path, "w") as f:
        sys.print_exception(error, f)  # type: ignore[attr-defined]
    with open(path, "rb") as f:
        f.seek(max(0, os.stat(path)[6] - layout.MAX_TRACE))
        text = f.read(layout.MAX_TRACE)
    return "".join([chr(byte) if 32 <= byte < 127 or byte == 10 else "?" for byte in text])


def safe_mode(boot: "handover.Boot") -> None:
    """Nothing can be executed: say why and leave the REPL, from which a signed release can be installed.

    Hook: `loader.start.safe` is then the Boot object (its accept_* and activate() work, staging is "/a"); the watchdog is not armed.
    """
    global safe
    safe = boot
    print("outpost: safe mode; no slot holds a release that may run")
    for entry in boot.evidence():
        print("outpost:", entry["cause"], entry["stage"], entry["text"])


safe = None  # type: handover.Boot | None


def run(base: str = "") -> None:
    """Boot. Returns only in safe mode, or raises KeyboardInterrupt to a developer at the REPL."""
    import machine  # type: ignore[import-not-found]  # here, so that a host can import the rest

    sys.path[:] = [".frozen", base + layout.HOME]
    ensure_secret(base, machine.unique_id())
    cause, reason = reset_cause(base, hardware_cause(machine))
    boot = handover.Boot(base, device_facts(base), cause, reason)
    boot.reset = machine.reset
    boot.hardware_tells_sleep = hasattr(machine, "DEEPSLEEP_RESET")
    ready = boot.select()
    if record.read(base + layout.NOTE):
        os.remove(
            base + layout.NOTE
        )  # after the record: a cut between them is a power-on, which outranks the note
    if not ready:
        safe_mode(boot)
        return
    timeout_ms = boot.device.get("wdt_ms", _WATCHDOG_MS)
    if timeout_ms:
        boot.watchdog = machine.WDT(timeout=timeout_ms)
    sys.path.append(boot.slot)
    gc.collect()
    execute(boot)
    machine.reset()


def execute(boot: "handover.Boot") -> None:
    """Run the application until it fails; it has no other way to end."""
    stage = "import"
    try:
        import node.main  # type: ignore[import-not-found]  # from the slot, now the last entry of the path

        stage = "run"
        node.main.run(boot)
        boot.fail(layout.EXCEPTION, stage, "returned")
    except KeyboardInterrupt:
        boot.plan_reset(
            "interrupt"
        )  # the watchdog goes on on RP2: that reset is not the release's fault
        raise
    except BaseException as error:  # noqa: BLE001 - SystemExit and MemoryError too
        gc.collect()
        try:
            text = traceback_text(boot.base, error)
        except OSError:
            text = repr(error)[: layout.MAX_TRACE]
        boot.fail(layout.EXCEPTION, stage, text)
