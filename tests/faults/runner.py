"""Divides a sweep among VM processes and adds up what they print."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from outpost.paths import vm_path

ROOT = Path(__file__).resolve().parents[2]
_VM_FILES = Path(__file__).resolve().parent / "vm"
# The collector walks the whole heap at each boot: enough for the flash twice, and no more.
_HEAP = {"full": "10M", "small": "1500K", "ota": "3M"}


@dataclass(frozen=True)
class Job:
    """One VM process: a share of one scenario on one board, with the firmware in `firmware`."""

    inputs: Path
    scenario: str
    board: str
    share: str
    firmware: Path
    timeout_s: float = 1500.0


@dataclass
class Failure:
    """A life that went wrong. `name` replays it."""

    name: str
    kind: str
    detail: str


@dataclass
class Result:
    """What one job, or many, found."""

    singles: int = 0
    multiples: int = 0
    refetched_max: int = 0
    operations: int = 0
    failures: list[Failure] = field(default_factory=list)

    def add(self, other: "Result") -> None:
        self.singles += other.singles
        self.multiples += other.multiples
        self.refetched_max = max(self.refetched_max, other.refetched_max)
        self.operations += other.operations
        self.failures += other.failures

    def count(self, kind: str) -> int:
        return sum(failure.kind == kind for failure in self.failures)


def _command(job: Job) -> list[str]:
    paths = [_VM_FILES, ROOT / "host_tools/outpost/sim/chip", ROOT / "tests/unit", job.firmware]
    return [
        str(vm_path(64, ROOT)),
        "-X",
        f"heapsize={_HEAP[job.inputs.stem]}",
        str(_VM_FILES / "sweep.py"),
        str(job.inputs),
        job.scenario,
        job.board,
        job.share,
        *map(str, paths),
    ]


def _lines(job: Job) -> Iterator[str]:
    """The process's own lines, as they come; it is stopped when it takes too long."""
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(_command(job), stdout=subprocess.PIPE, stderr=errors, text=True) as vm,
    ):
        assert vm.stdout is not None
        kept = []
        for line in vm.stdout:
            if line.startswith("@"):
                yield line.rstrip()
            elif len(kept) < 40 and "EIO" not in line:
                kept.append(line.rstrip())
        vm.wait()
        if vm.returncode:
            errors.seek(0)
            kept += errors.read().splitlines()[-20:]
            yield "@died " + " | ".join(kept)


def run_job(job: Job, progress: Callable[[int], None] | None = None) -> Result:
    """Run one job to its end. A process that does not reach its end is a failure, never a pass."""
    result = Result()
    prefix = f"{job.inputs.stem}.{job.scenario}.{job.board}."
    ended = False
    for line in _lines(job):
        word, _, rest = line.partition(" ")
        if word == "@fail":
            name, kind, detail = rest.split(" ", 2)
            result.failures.append(Failure(prefix + name, kind, detail))
        elif word == "@end":
            numbers = [int(part) for part in rest.split()]
            result.singles, result.multiples, result.refetched_max, result.operations = numbers
            ended = True
        elif word == "@at" and progress:
            progress(int(rest))
        elif word == "@died":
            result.failures.append(Failure(prefix + job.share, "brick", "the VM died: " + rest))
    if not ended and not result.failures:
        result.failures.append(Failure(prefix + job.share, "brick", "the VM said nothing"))
    return result


def run_jobs(jobs: Sequence[Job], workers: int, done: Callable[[Job, Result], None]) -> Result:
    """Run the jobs, `workers` at a time; `done` hears of each."""
    total = Result()

    def one(job: Job) -> tuple[Job, Result]:
        return job, run_job(job)

    with ThreadPoolExecutor(workers) as pool:
        for job, result in pool.map(one, jobs):
            total.add(result)
            done(job, result)
    return total


def snapshot(folder: Path) -> Path:
    """A copy of the firmware as it is now: a sweep takes minutes, and somebody may be working."""
    ignore = shutil.ignore_patterns("__pycache__", ".*")
    return Path(shutil.copytree(ROOT / "firmware", folder / "firmware", ignore=ignore))


def workers() -> int:
    return max(1, min(os.cpu_count() or 1, 8))
