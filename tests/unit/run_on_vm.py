"""Runs the unit tests on the MicroPython VM and judges them from the lines they print.

Why lines and not the exit status: a runner on the VM that dies, exits early or finds too few tests
must not look like a success (`unittest.main()` there exits with 0 on failure).  A file passes only
if every test that CPython's loader finds in it was started and reported ok, each exactly once, and
the closing line counts them all.

    python tests/unit/run_on_vm.py [--bits 32] [test_wifi.py ...]
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import unittest
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

UNIT = Path(__file__).resolve().parent
ROOT = UNIT.parent.parent
RUNNER = UNIT / "vm" / "run.py"
SEARCH = (UNIT / "vm", UNIT, ROOT / "firmware", ROOT / "host_tools" / "outpost" / "sim")
HEAP = "4M"
TIMEOUT_S = 180.0


@dataclass
class FileRun:
    """What one file did on one VM."""

    file: Path
    expected: list[str]
    outcomes: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    output: str = ""

    @property
    def passed(self) -> int:
        return sum(verdict == "ok" for verdict in self.outcomes.values())

    @property
    def ok(self) -> bool:
        return not self.problems


def expected_tests(file: Path) -> list[str]:
    """The ids that CPython's own loader finds in the same file."""
    name = f"_expected_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    return sorted(".".join(test.id().split(".")[-2:]) for test in _flatten(suite))


def _flatten(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from _flatten(item)
        else:
            yield item


def run_file(vm: Path, file: Path, timeout_s: float = TIMEOUT_S) -> FileRun:
    """Run one file on a VM and judge it."""
    run = FileRun(file, expected_tests(file))
    folders = [str(file.parent), *map(str, SEARCH)]
    command = [str(vm), "-X", f"heapsize={HEAP}", str(RUNNER), file.stem, *folders]
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
        )
        run.output = done.stdout.decode(errors="replace")
        status = f"the VM ended with status {done.returncode}" if done.returncode else ""
    except subprocess.TimeoutExpired as hang:
        run.output = (hang.stdout or b"").decode(errors="replace")
        status = f"no end after {timeout_s:.0f} s"
    judge(run, status)
    return run


def judge(run: FileRun, status: str = "") -> None:
    """Fill in outcomes and problems from the output."""
    counts: list[int] = []
    started: list[str] = []
    for line in run.output.splitlines():
        words = line.split()
        if line.startswith("@run ") and len(words) == 2:
            started.append(words[1])
        elif line.startswith(("@ok ", "@fail ", "@error ")) and len(words) == 3:
            run.outcomes[words[1]] = words[0][1:]
        elif line.startswith("@end ") and len(words) == 2:
            counts.append(int(words[1]))
    run.problems += list(_problems(run, started, counts))
    if status:
        run.problems.append(status)


def _problems(run: FileRun, started: list[str], counts: list[int]) -> Iterator[str]:
    for test, verdict in run.outcomes.items():
        if verdict != "ok":
            yield f"{test}: {verdict}"
    for test in started:
        if test not in run.outcomes:
            yield f"{test}: started and never ended"
    for test in run.expected:
        if test not in started:
            yield f"{test}: did not run on the VM"
    for test in sorted(set(started) - set(run.expected)):
        yield f"{test}: ran on the VM, not on CPython"
    if not run.expected:
        yield "the file has no tests"
    if len(started) != len(set(started)):
        yield "a test ran twice"
    if counts != [len(run.expected)]:
        yield f"closing count {counts or 'missing'}, CPython has {len(run.expected)} tests"


def unit_files() -> list[Path]:
    """Every file of unit tests."""
    return sorted(UNIT.glob("test_*.py"))


def main() -> int:
    sys.path[:0] = [str(UNIT), str(ROOT / "firmware"), str(ROOT / "host_tools")]
    from outpost.paths import vm_path

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--bits", type=int, choices=(32, 64), default=64)
    parser.add_argument("--vm", type=Path, help="another VM than the one of `make setup`")
    parser.add_argument("-q", "--quiet", action="store_true", help="only files and problems")
    parser.add_argument("files", nargs="*", type=Path)
    given = parser.parse_args()
    vm = given.vm or vm_path(given.bits)
    files = [f if f.exists() else UNIT / f for f in given.files] or unit_files()
    runs = [_shown(run_file(vm, file.resolve()), given.quiet) for file in files]
    bad = sum(not run.ok for run in runs)
    print(f"{sum(r.passed for r in runs)} tests ok in {len(runs)} files, {bad} files failed")
    return 1 if bad else 0


def _shown(run: FileRun, quiet: bool) -> FileRun:
    if not run.ok or not quiet:
        lines = [x for x in run.output.splitlines() if not x.startswith("@run ") or not run.ok]
        print("\n".join(f"  {line}" for line in lines))
    print(f"{run.file.name}: {run.passed}/{len(run.expected)} ok", flush=True)
    for problem in run.problems:
        print(f"  PROBLEM {problem}")
    return run


if __name__ == "__main__":
    sys.exit(main())
