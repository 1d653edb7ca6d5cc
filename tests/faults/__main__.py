"""The sweep: `python -m tests.faults [--quick] [--replay ID]`.

Prints progress, one line for each failure with the id that replays it, and at last

    faults: cuts=N pairs=M bricks=0 mixed=0 refetched_max=B planted=P/P

Exit status 0 only when nothing went wrong and every planted defect was caught. `cuts` counts lives
with one cut, `pairs` lives with two or more; `refetched_max` is the most that was fetched twice,
in bytes per cut.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from . import inputs, runner
from .mutants import MUTANTS, SAMPLE, Mutant
from .runner import Failure, Job, Result

_BLOCK = 4096
_SHARES = 4  # of a sweep that one process would take minutes for


@dataclass(frozen=True)
class Material:
    """What all jobs of one run share: the inputs, by size, and a copy of the firmware."""

    full: Path
    small: Path
    ota: Path
    firmware: Path

    @classmethod
    def make(cls, folder: Path) -> "Material":
        keys = inputs.Keys()
        full, small = inputs.make(folder, False, keys), inputs.make(folder, True, keys)
        ota = inputs.make_ota(folder, keys)
        return cls(full, small, ota, runner.snapshot(folder))

    def job(self, size: str, scenario: str, board: str, share: str) -> Job:
        return Job(getattr(self, size), scenario, board, share, self.firmware)


def sweep_jobs(material: Material) -> list[Job]:
    """All single cuts on both geometries, all pairs on the small image, random ones on the
    full.
    """
    job = material.job
    jobs = []
    for board in inputs.BOARDS:
        for scenario in inputs.SCENARIOS:
            for part in range(_SHARES):
                jobs.append(job("full", scenario, board, f"singles:{part}:{_SHARES}"))
            jobs.append(job("full", scenario, board, "random:1:60"))
            jobs.append(job("small", scenario, board, "singles:0:1"))
    for scenario in inputs.OTA_SCENARIOS:
        for part in range(_SHARES):
            jobs.append(job("ota", scenario, inputs.OTA_BOARD, f"singles:{part}:{_SHARES}"))
        jobs.append(job("ota", scenario, inputs.OTA_BOARD, "random:1:60"))
    for scenario in inputs.SCENARIOS:
        for part in range(_SHARES * 2):
            verb = "tornpairs" if scenario == "rollback" else "pairs"
            share = f"{verb}:{part}:{_SHARES * 2}"
            jobs.append(job("small", scenario, inputs.BOARDS[0], share))
    return jobs


def quick_jobs(material: Material) -> list[Job]:
    """A sample: every ninth operation of each story, a few pairs and random lives."""
    job = material.job
    first, second = inputs.BOARDS
    jobs = [job("small", name, first, "singles:1:9") for name in inputs.SCENARIOS]
    jobs += [job("small", name, second, "singles:1:9") for name in inputs.SCENARIOS]
    jobs += [job("full", name, first, "singles:3:60") for name in inputs.SCENARIOS]
    jobs += [job("ota", name, inputs.OTA_BOARD, "singles:1:25") for name in inputs.OTA_SCENARIOS]
    jobs.append(job("full", "update", second, "random:2:10"))
    jobs.append(job("small", "update", first, "pairs:7:40"))
    return jobs


def run_mutants(mutants: Sequence[Mutant], material: Material) -> list[str]:
    """Plant each defect in turn; the names of those that the sweep did not catch."""
    missed = []
    with tempfile.TemporaryDirectory() as scratch:
        jobs = {}
        for mutant in mutants:
            firmware = mutant.plant(material.firmware, Path(scratch) / mutant.name)
            board = inputs.OTA_BOARD if mutant.size == "ota" else inputs.BOARDS[0]
            planted = material.job(mutant.size, mutant.scenario, board, "until:0:1")
            jobs[replace(planted, firmware=firmware)] = mutant

        def done(job: Job, result: Result) -> None:
            mutant = jobs[job]
            caught = [failure for failure in result.failures if _is_verdict(failure)]
            if caught:
                say(f"planted {mutant.name}: caught by {caught[0].name}: {caught[0].detail}")
            else:
                missed.append(mutant.name)
                say(f"planted {mutant.name}: MISSED {result.failures}")

        runner.run_jobs(list(jobs), runner.workers(), done)
    return missed


def _is_verdict(failure: Failure) -> bool:
    """Whether the oracle said so: a VM that dies, or a defect that does not even run, is no
    catch.
    """
    return not failure.name.endswith("until:0:1") and not failure.detail.startswith("raised")


def say(text: str) -> None:
    print(text, flush=True)


def replay(name: str, material: Material) -> int:
    """Live the one life that `name` names."""
    size, scenario, board, cuts = name.split(".", 3)
    result = runner.run_job(material.job(size, scenario, board, cuts))
    for failure in result.failures:
        say(f"{failure.name}: {failure.kind}: {failure.detail}")
    if not result.failures:
        say(f"{name}: nothing wrong")
    return 1 if result.failures else 0


def sweep(jobs: list[Job], mutants: Sequence[Mutant], material: Material) -> int:
    started = time.monotonic()
    workers = runner.workers()
    count = 0

    def done(job: Job, result: Result) -> None:
        nonlocal count
        count += 1
        elapsed = time.monotonic() - started
        lives = result.singles + result.multiples
        say(
            f"[{elapsed:5.0f} s] {count}/{len(jobs)} {job.inputs.stem} {job.scenario} {job.board}"
            f" {job.share}: {lives} lives, {len(result.failures)} wrong"
        )
        for failure in result.failures[:5]:
            say(f"    {failure.name}: {failure.kind}: {failure.detail}")

    total = runner.run_jobs(jobs, workers, done)
    missed = run_mutants(mutants, material)
    caught = len(mutants) - len(missed)
    say(
        f"faults: cuts={total.singles} pairs={total.multiples} bricks={total.count('brick')}"
        f" mixed={total.count('mixed')} refetched_max={total.refetched_max}"
        f" planted={caught}/{len(mutants)}"
    )
    good = (
        total.singles > 0
        and total.multiples > 0
        and not total.failures
        and not missed
        and total.refetched_max <= _BLOCK
    )
    if total.count("rule"):
        print(f"faults: {total.count('rule')} lives broke another rule", file=sys.stderr)
    return 0 if good else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument(
        "--quick", action="store_true", help="a sample, for every run of the tests"
    )
    parser.add_argument("--replay", metavar="ID", help="live the life of this id alone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        material = Material.make(Path(scratch))
        if arguments.replay:
            return replay(arguments.replay, material)
        if arguments.quick:
            return sweep(quick_jobs(material), SAMPLE, material)
        return sweep(sweep_jobs(material), MUTANTS, material)


if __name__ == "__main__":
    sys.exit(main())
