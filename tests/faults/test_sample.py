"""A sample of the sweep (`make faults` runs the whole): some cuts of every story, and some planted
defects.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from . import __main__ as faults
from . import inputs, runner
from .mutants import MUTANTS, SAMPLE
from .runner import Job, Result


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> faults.Material:
    return faults.Material.make(tmp_path_factory.mktemp("faults"))


def _nothing(job: Job, result: Result) -> None:
    pass


def test_cuts_leave_old_or_new(material: faults.Material) -> None:
    total = runner.run_jobs(faults.quick_jobs(material), runner.workers(), _nothing)
    assert total.failures == []
    assert total.singles > 200 and total.multiples > 100
    assert 0 < total.refetched_max <= 4096


def test_planted_defects_are_caught(material: faults.Material) -> None:
    assert len(SAMPLE) >= 8
    assert faults.run_mutants(SAMPLE, material) == []


def test_every_defect_can_still_be_planted(material: faults.Material, tmp_path: Path) -> None:
    assert len(MUTANTS) >= 20
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    for mutant in MUTANTS:
        mutant.plant(material.firmware, tmp_path / mutant.name)


def test_a_vm_that_dies_is_a_failure(material: faults.Material, tmp_path: Path) -> None:
    (tmp_path / "small.cbor").write_bytes(b"not CBOR")
    job = replace(
        material.job("small", "update", inputs.BOARDS[0], "singles:0:1"),
        inputs=tmp_path / "small.cbor",
    )
    assert [failure.kind for failure in runner.run_job(job).failures] == ["brick"]


def test_a_failure_is_replayed_by_its_name(material: faults.Material, tmp_path: Path) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "root-written-in-place")
    firmware = mutant.plant(material.firmware, tmp_path / "firmware")
    job = material.job("small", mutant.scenario, inputs.BOARDS[0], "until:0:1")
    name = runner.run_job(replace(job, firmware=firmware)).failures[0].name
    assert faults.replay(name, material) == 0  # nothing wrong with the real one
    share = name.rsplit(".", 1)[1]
    again = runner.run_job(replace(job, firmware=firmware, share=share))
    assert [failure.name for failure in again.failures] == [name]
