"""The unit tests again, the identical files, on the 64-bit and the 32-bit MicroPython VM."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from run_on_vm import FileRun, run_file, unit_files


@pytest.mark.vm
@pytest.mark.parametrize("file", unit_files(), ids=lambda file: file.stem)
@pytest.mark.parametrize("bits", [64, 32])
def test_unit_file_on_vm(
    file: Path, bits: int, vms: dict[int, Path], record_property: Callable[[str, object], None]
) -> None:
    if bits not in vms:
        pytest.skip("no 32-bit MicroPython VM on this machine: make setup says why")
    run = run_file(vms[bits], file)
    record_property(f"vm{bits}", run.passed)
    assert run.ok, "\n".join([*run.problems, run.output[-6000:]])
    assert run.passed == len(run.expected) > 0


def run_planted(tmp_path: Path, vm: Path, body: str, timeout_s: float = 20.0) -> FileRun:
    file = tmp_path / "test_planted.py"
    head = "import unittest, sys\nVM = sys.implementation.name == 'micropython'\n"
    file.write_text(head + textwrap.dedent(body))
    return run_file(vm, file, timeout_s)


PASSING = """
class TestGood(unittest.TestCase):
    def test_one(self):
        self.assertEqual(1, 1)
"""


def test_a_passing_file_passes(tmp_path: Path, vm: Path) -> None:
    run = run_planted(tmp_path, vm, PASSING)
    assert run.ok and run.passed == 1


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("self.assertEqual(1, 2)", "TestBad.test_bad: fail"),
        ("self.assertFalse(VM)", "TestBad.test_bad: fail"),
        ("{}['key']", "TestBad.test_bad: error"),
        ("self.assertRaises(ValueError, int, '3')", "TestBad.test_bad: fail"),
        ("self.assertCountEqual([1], [1])", "TestBad.test_bad: error"),
        ("sys.exit(0)", "TestBad.test_bad: started and never ended"),
    ],
)
def test_a_failing_test_is_seen(tmp_path: Path, vm: Path, body: str, expected: str) -> None:
    bad = f"class TestBad(unittest.TestCase):\n    def test_bad(self):\n        {body}\n"
    run = run_planted(tmp_path, vm, PASSING + bad)
    assert not run.ok
    assert expected in run.problems


def test_an_import_error_is_seen(tmp_path: Path, vm: Path) -> None:
    run = run_planted(tmp_path, vm, "if VM:\n    import no_such_module\n" + PASSING)
    assert not run.ok
    assert "TestGood.test_one: did not run on the VM" in run.problems


def test_a_test_that_the_vm_never_finds_is_seen(tmp_path: Path, vm: Path) -> None:
    hidden = "class TestMore(unittest.TestCase):\n    if not VM:\n        def test_x(self): pass\n"
    run = run_planted(tmp_path, vm, PASSING + hidden)
    assert "TestMore.test_x: did not run on the VM" in run.problems


def test_an_early_exit_is_seen(tmp_path: Path, vm: Path) -> None:
    run = run_planted(tmp_path, vm, "if VM:\n    sys.exit(0)\n" + PASSING)
    assert not run.ok


def test_a_file_without_tests_is_seen(tmp_path: Path, vm: Path) -> None:
    assert "the file has no tests" in run_planted(tmp_path, vm, "x = 1\n").problems


def test_a_hang_is_seen(tmp_path: Path, vm: Path) -> None:
    hang = "class TestHang(unittest.TestCase):\n    def test_it(self):\n        while VM: pass\n"
    run = run_planted(tmp_path, vm, PASSING + hang, timeout_s=1.5)
    assert "no end after 2 s" in run.problems
    assert "TestHang.test_it: started and never ended" in run.problems
