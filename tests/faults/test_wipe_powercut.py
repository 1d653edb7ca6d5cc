"""A wipe under power cuts: whenever the power goes, the next boot ends what was begun, and then no
piece of a secret is anywhere on the flash (tests/faults/vm/wipe_sweep.py).
"""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).parent / "vm" / "wipe_sweep.py"
PATHS = (ROOT / "firmware", ROOT / "host_tools" / "outpost" / "sim")
MODES = ("lost", "torn", "after", "garbage")


def sweep(vm, prog, mode, cuts="1:0:1", defect="none"):
    """Cut at operations first..last in steps (last 0: all); (runs, operations, violations)."""
    done = subprocess.run(
        [str(vm), "-X", "heapsize=8M", str(SCRIPT), str(prog), mode, *cuts.split(":"), defect],
        env={"MICROPYPATH": ":".join([*map(str, PATHS), ".frozen"])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
    )
    lines = done.stdout.splitlines()
    words = lines[-1].split() if lines else []
    assert done.returncode == 0 and words[:1] == ["RUNS"], done.stdout[-2000:]
    return int(words[1]), int(words[3]), [line for line in lines if line[:9] == "VIOLATION"]


@pytest.mark.parametrize("prog", [32, 256])
@pytest.mark.parametrize("mode", MODES)
def test_sampled(vm, prog, mode):
    first = 1 + MODES.index(mode)
    runs, operations, violations = sweep(vm, prog, mode, f"{first}:0:29")
    assert violations == []
    assert operations > 300 and runs >= (operations - first) // 29


@pytest.mark.exhaustive
@pytest.mark.parametrize("prog", [32, 256])
@pytest.mark.parametrize("mode", MODES)
def test_every_operation(vm, prog, mode):
    runs, operations, violations = sweep(vm, prog, mode)
    assert violations == []
    assert runs == operations > 300


@pytest.mark.parametrize("defect", ["no-fill", "no-turn", "files-only"])
def test_the_oracle_sees_what_is_left_undone(vm, defect):
    violations = sweep(vm, 256, "lost", "1:1:1", defect)[2]
    assert any("found" in line for line in violations)
