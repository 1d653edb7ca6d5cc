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
from pathlib import Path

from . import inputs, runner
from .mutants import MUTANTS, SAMPLE, Mutant
from .runner import ROOT, Job, Result

_BLOCK = 4096
_SHARES = 4  # of a sweep that one process would take minutes for


def sweep_jobs(full: Path, small: Path) -> list[Job]:
    """All single cuts on both geometries, all pairs on the small image, random ones on the
    full.
    """
    jobs = []
    for board in inputs.BOARDS:
        for scenario in inputs.SCENARIOS:
            for part in range(_SHARES):
                jobs.append(Job(full, scenario, board, f"singles:{part}:{_SHARES}"))
            jobs.append(Job(full, scenario, board, "random:1:60"))
            jobs.append(Job(small, scenario, board, "singles:0:1"))
    for scenario in inputs.SCENARIOS:
        for part in range(_SHARES * 2):
            jobs.append(Job(small, scenario, inputs.BOARDS[0], f"pairs:{part}:{_SHARES * 2}"))
    return jobs


def quick_jobs(full: Path, small: Path) -> list[Job]:
    """A sample: another one of the operations of each story, a few pairs and random lives."""
    jobs = [
        Job(small, name, board, "singles:1:9")
        for name in inputs.SCENARIOS
        for board in inputs.BOARDS
    ]
    jobs += [Job(full, name, inputs.BOARDS[0], "singles:3:60") for name in inputs.SCENARIOS]
    jobs.append(Job(full, "update", inputs.BOARDS[1], "random:2:10"))
    jobs.append(Job(small, "update", inputs.BOARDS[0], "pairs:7:40"))
    return jobs


def run_mutants(mutants: Sequence[Mutant], paths: dict[str, Path], workers: int) -> list[str]:
    """Plant each defect in turn; the names of those that the sweep did not catch."""
    missed = []
    with tempfile.TemporaryDirectory() as scratch:
        jobs = {}
        for mutant in mutants:
            firmware = mutant.plant(ROOT / "firmware", Path(scratch) / mutant.name)
            job = Job(paths[mutant.size], mutant.scenario, inputs.BOARDS[0], "until:0:1", firmware)
            jobs[job] = mutant

        def done(job: Job, result: Result) -> None:
            mutant = jobs[job]
            # a VM that dies, or says nothing, has caught nothing
            caught = [f for f in result.failures if not f.name.endswith("until:0:1")]
            if caught:
                say(f"planted {mutant.name}: caught by {caught[0].name}: {caught[0].detail}")
            else:
                missed.append(mutant.name)
                say(f"planted {mutant.name}: MISSED {result.failures}")

        runner.run_jobs(list(jobs), workers, done)
    return missed


def say(text: str) -> None:
    print(text, flush=True)


def replay(name: str, paths: dict[str, Path]) -> int:
    """Live the one life that `name` names."""
    size, scenario, board, cuts = name.split(".", 3)
    result = runner.run_job(Job(paths[size], scenario, board, cuts))
    for failure in result.failures:
        say(f"{failure.name}: {failure.kind}: {failure.detail}")
    if not result.failures:
        say(f"{name}: nothing wrong")
    return 1 if result.failures else 0


def sweep(jobs: list[Job], mutants: Sequence[Mutant], paths: dict[str, Path]) -> int:
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
    missed = run_mutants(mutants, paths, workers)
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
        keys = inputs.Keys()
        paths = {
            "full": inputs.make(Path(scratch), False, keys),
            "small": inputs.make(Path(scratch), True, keys),
        }
        if arguments.replay:
            return replay(arguments.replay, paths)
        if arguments.quick:
            return sweep(quick_jobs(paths["full"], paths["small"]), SAMPLE, paths)
        return sweep(sweep_jobs(paths["full"], paths["small"]), MUTANTS, paths)


if __name__ == "__main__":
    sys.exit(main())
