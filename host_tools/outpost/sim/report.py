"""What a run of a board came to, as plain data: for the command line, the demo and tests."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outpost.sim.board import SimBoard

_UAMS_PER_MAH = 3_600_000_000


def report(board: SimBoard) -> dict[str, Any]:
    """Boots by cause, virtual time, charge by state, and flash traffic."""
    meter = board.meter
    return {
        "board": board.board.name,
        "uid": board.uid,
        "vm_word_bits": board.vm.word_bits,
        "heap_bytes": board.heap_bytes,
        "heap_scale": board.vm.heap_scale,
        "boots": dict(Counter(board.resets)),
        "virtual_s": meter.elapsed_ms / 1000,
        "time_s": {name: ms / 1000 for name, ms in sorted(meter.time_ms.items()) if ms},
        "charge_mah": {
            name: round(charge / _UAMS_PER_MAH, 6)
            for name, charge in sorted(meter.charge_uams.items())
            if charge
        },
        "average_ua": round(meter.average_ua, 1),
        "flash": {
            "operations": board.state["flash_ops"],
            "erases": board.state["flash_erases"],
            "programmed_kib": board.state["flash_program_kib"],
            "violations": board.state["flash_violations"],
        },
        "radio": {"tx_bytes": board.state["tx_bytes"], "rx_bytes": board.state["rx_bytes"]},
    }


def summary(found: dict[str, Any]) -> str:
    """The report as lines for people."""
    boots = ", ".join(f"{count} {cause}" for cause, count in found["boots"].items())
    charge = ", ".join(f"{name} {mah:.3g}" for name, mah in found["charge_mah"].items())
    flash = found["flash"]
    words = f"{found['vm_word_bits']}-bit VM"
    if found["heap_scale"] > 1:
        words += f", heap x{found['heap_scale']} because words are wider than the board's"
    readings = ", ".join(f"{count} {name}" for name, count in found.get("readings", {}).items())
    account = [f"  readings: {readings}"] if readings else []
    return "\n".join(
        [
            f"{found['board']} {found['uid']} ({words})",
            f"  {found['virtual_s']:.1f} s of virtual time; boots: {boots or 'none'}",
            f"  {found['average_ua']} uA on average; mAh: {charge or 'none'}",
            f"  flash: {flash['erases']} erases, {flash['programmed_kib']} KiB programmed, "
            f"{flash['violations']} illegal programs",
            *account,
        ]
    )
