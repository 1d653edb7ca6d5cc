"""A program's names take tables of the sizes, and at the moments, that a chip's would."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from outpost.boards import load_board
from outpost.build.volume import format_image
from outpost.sim import SimBoard

pytestmark = pytest.mark.vm
_MAIN = b"""
import gc
class A:
    pass
found = []
for number in range(700):
    before = gc.mem_alloc()
    hasattr(A, "zzq%d" % number)
    grown = gc.mem_alloc() - before
    if grown > 1000:
        found.append((number, grown))
for number, grown in found:
    print("table", number, grown)
print("done")
"""


@pytest.mark.parametrize("name", ["esp32_generic", "rpi_pico_w"])
def test_tables_of_160_320_and_640_names(tmp_path: Path, name: str) -> None:
    flash = tmp_path / "flash.img"
    flash.write_bytes(format_image(load_board(name), {"/boot.py": b"", "/main.py": _MAIN}))
    lines: list[str] = []
    sim = SimBoard(name, flash, on_line=lines.append)
    sim.start()
    until = time.monotonic() + 20
    while "done" not in lines and time.monotonic() < until:
        time.sleep(0.05)
    sim.stop()
    tables = [tuple(map(int, line.split()[1:])) for line in lines if line.startswith("table")]
    scale = sim.vm.heap_scale
    sizes = [grown // scale for _, grown in tables]
    for size, rows in zip(sizes, (160, 320, 640), strict=True):
        assert 7 * rows <= size < 7 * rows * 11 / 7 + 300
    begun = [number for number, _ in tables]
    assert begun[1] - begun[0] == 160 and begun[2] - begun[1] == 320
