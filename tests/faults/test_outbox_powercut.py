"""The outbox under power cuts: a workload on the VM over NOR flash, cut at every flash operation.

The oracle (tests/faults/vm/outbox_sweep.py) knows what was taken, flushed and acknowledged: after
a cut, or a cut and a second one during recovery, everything that was flushed is sent, was
acknowledged or is counted as dropped; what is lost was unflushed; nothing damaged is sent.
"""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).parent / "vm" / "outbox_sweep.py"
PATHS = (ROOT / "firmware", ROOT / "host_tools" / "outpost" / "sim")
MODES = ("lost", "torn", "after", "garbage")


def sweep(vm, policy, prog, mode, cuts="1:0:1", defect="none"):
    """Cut at operations first..last in steps (last 0: all); (runs, operations, violations)."""
    arguments = [policy, str(prog), mode, *cuts.split(":"), defect]
    done = subprocess.run(
        [str(vm), "-X", "heapsize=8M", str(SCRIPT), *arguments],
        env={"MICROPYPATH": ":".join(map(str, PATHS))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    lines = done.stdout.splitlines()
    words = lines[-1].split() if lines else []
    assert done.returncode == 0 and words[:1] == ["RUNS"], done.stdout[-2000:]
    violations = [line for line in lines if line.startswith("VIOLATION")]
    return int(words[1]), int(words[3]), violations


@pytest.mark.parametrize("policy", ["drop", "thin", "drop-sealed", "thin-sealed"])
@pytest.mark.parametrize("mode", MODES)
def test_sampled(vm, policy, mode):
    first = 1 + MODES.index(mode) * 3
    runs, operations, violations = sweep(vm, policy, 256, mode, f"{first}:0:29")
    assert violations == []
    assert operations > 100 and runs > operations // 30


@pytest.mark.exhaustive
@pytest.mark.parametrize("prog", [32, 256])
@pytest.mark.parametrize("policy", ["drop", "thin", "drop-sealed", "thin-sealed"])
@pytest.mark.parametrize("mode", MODES)
def test_every_operation(vm, policy, prog, mode):
    runs, operations, violations = sweep(vm, policy, prog, mode)
    assert violations == []
    assert runs == operations > 100


@pytest.mark.exhaustive
@pytest.mark.parametrize("policy", ["drop", "thin"])
@pytest.mark.parametrize("mode", MODES)
def test_a_second_cut_during_recovery(vm, policy, mode):
    runs, operations, violations = sweep(vm, policy, 256, mode, "5:0:5")
    assert violations == []
    assert runs > operations


@pytest.mark.parametrize(
    ("defect", "cuts"),
    [
        ("remove-then-write", "60:120:5"),
        ("tmp-remove-rename", "60:120:5"),
        ("rewrite-in-place", "60:120:5"),
        ("send-cursor", "110:160:4"),
        ("sweep-first", "80:140:4"),
    ],
)
def test_planted_defects_are_caught(vm, defect, cuts):
    _, _, violations = sweep(vm, "drop", 256, "torn", cuts, defect)
    assert violations
