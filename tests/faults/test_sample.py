"""A sample of the sweep (`make faults` runs the whole): some cuts of every story, and some planted
defects.
"""

from pathlib import Path

import pytest

from . import __main__ as faults
from . import inputs, runner
from .mutants import MUTANTS, SAMPLE
from .runner import ROOT, Job, Result


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("faults")
    keys = inputs.Keys()
    return {
        "full": inputs.make(folder, False, keys),
        "small": inputs.make(folder, True, keys),
    }


def _nothing(job: Job, result: Result) -> None:
    pass


def test_cuts_leave_old_or_new(paths: dict[str, Path]) -> None:
    jobs = faults.quick_jobs(paths["full"], paths["small"])
    total = runner.run_jobs(jobs, runner.workers(), _nothing)
    assert total.failures == []
    assert total.singles > 200 and total.multiples > 100
    assert 0 < total.refetched_max <= 4096


def test_planted_defects_are_caught(paths: dict[str, Path]) -> None:
    assert len(SAMPLE) >= 8
    assert faults.run_mutants(SAMPLE, paths, runner.workers()) == []


def test_every_defect_can_still_be_planted(tmp_path: Path) -> None:
    assert len(MUTANTS) >= 20
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    for mutant in MUTANTS:
        mutant.plant(ROOT / "firmware", tmp_path / mutant.name)


def test_a_vm_that_dies_is_a_failure(paths: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "small.cbor").write_bytes(b"not CBOR")
    job = Job(tmp_path / "small.cbor", "update", inputs.BOARDS[0], "singles:0:1")
    assert [failure.kind for failure in runner.run_job(job).failures] == ["brick"]


def test_a_failure_is_replayed_by_its_name(
    paths: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "root-written-in-place")
    firmware = mutant.plant(ROOT / "firmware", tmp_path / "firmware")
    job = Job(paths["small"], mutant.scenario, inputs.BOARDS[0], "until:0:1", firmware)
    name = runner.run_job(job).failures[0].name
    assert faults.replay(name, paths) == 0  # nothing wrong with the real one
    share = name.rsplit(".", 1)[1]
    again = runner.run_job(Job(paths["small"], mutant.scenario, inputs.BOARDS[0], share, firmware))
    assert [failure.name for failure in again.failures] == [name]
