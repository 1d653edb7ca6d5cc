"""Telemetry: what a sample costs in time, bytes and flash. Measured on the VMs.

The flash is the NOR model with the board's filesystem (212 blocks of 4 KiB); an erase is one
block. The floor of the flash is the payload itself: 96 bytes of a 4096-byte block are 0.023
erases.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from outpost.paths import find_tool, project_root, vm_path

SCRIPT = Path(__file__).parent / "telemetry_vm.py"
TITLES = {
    "us.filter.deadband": "deadband, one value",
    "us.filter.window": "window min/mean/max, one value",
    "us.filter.median5": "median of 5, one value",
    "us.filter.hampel9": "Hampel of 9, one value",
    "us.filter.anomaly": "EWMA and CUSUM, one value",
    "us.sample": "sample of 5 values: filters, row, 1/12 of a batch",
    "us.encode": "pack 12 x 5",
    "us.decode": "unpack 12 x 5",
    "us.append-send-ack": "outbox: append, send, acknowledge a batch",
    "bytes.batch": "12 samples of 5 values, packed",
    "erases.full.256": "erases per batch, flushed when the block is full",
    "erases.ten.256": "erases per batch, flushed every 10 batches",
    "erases.each.256": "erases per batch, flushed each time",
    "erases.connected": "erases per batch, acknowledged from RAM",
    "programmed.full.256": "bytes programmed per batch, full blocks",
}
UNITS = {"us": "us", "bytes": "B", "erases": "erases", "programmed": "B"}


def figures(vm: Path) -> dict[str, float]:
    """Run the script on one VM."""
    root = project_root()
    path = [root / "firmware", root / "host_tools" / "outpost" / "sim"]
    done = subprocess.run(
        [str(vm), "-X", "heapsize=8M", str(SCRIPT)],
        env={"MICROPYPATH": ":".join(map(str, path))},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    rows = (line.split() for line in done.stdout.splitlines())
    return {name: float(value) for name, value in rows}


def measure(arguments: list[str]) -> list[dict[str, Any]]:
    """One row per figure; times on every VM there is, flash and bytes once."""
    narrow = find_tool("micropython32", project_root())
    vms = {"VM 64": vm_path(64, project_root()), **({"VM 32": narrow} if narrow else {})}
    rows = []
    for who, vm in vms.items():
        found = figures(vm)
        for name, title in TITLES.items():
            kind = name.split(".")[0]
            if kind != "us" and who != "VM 64":
                continue
            rows.append(_row(name, title, who, found[name], UNITS[kind]))
    return rows


def _row(name: str, title: str, who: str, value: float, unit: str) -> dict[str, Any]:
    row: dict[str, Any] = {"name": title, "who": who, "value": value, "unit": unit}
    if name == "bytes.batch":
        row.update(target="<= 120 B", met=value <= 120, ratio=value / 94)
    if name == "erases.full.256":
        row.update(target="<= 0.05", met=value <= 0.05, ratio=value / (96 / 4096))
    return row
