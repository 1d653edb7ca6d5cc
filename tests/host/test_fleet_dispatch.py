"""Rollouts with their storage: what is on disk before a device hears of it, and restarts at any
moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from outpost.errors import OutpostError
from outpost.fleet.dispatch import JOIN_EVERY_MS, Dispatcher
from outpost.fleet.fleet import Fleet
from outpost.fleet.observation import Observation
from outpost.fleet.rollout import Policy, Stage

from tests.fleet_kit import identity, make_release, make_trust

STAGES = (Stage("canary", ("w-0",)), Stage("all", percent=100))
POLICY = Policy(soak_s=60, offers_per_minute=60_000)


@pytest.fixture(scope="module")
def ceremony(tmp_path_factory):
    return make_trust(tmp_path_factory.mktemp("trust"))


class Bench:
    """A fleet of three on 1.0.0, with a dispatcher whose clock is ours."""

    def __init__(self, fleet: Fleet, folder: Path, ceremony) -> None:
        self.fleet = fleet
        self.registry = fleet.registry
        self.now = 1_800_000_000_000
        self.asked: list[str] = []
        self.old = fleet.publish(make_release(folder, ceremony, "1.0.0")).digest
        self.new = fleet.publish(make_release(folder, ceremony, "1.1.0")).digest
        for number in range(3):
            self.enroll(f"w-{number}")
        self.rollouts = self.start()

    def enroll(self, name: str) -> None:
        self.registry.devices.add(identity(name), self.now)
        self.registry.devices.report(name, {"release": self.old, "confirmed": True, "epoch": 0})

    def start(self) -> Dispatcher:
        """A new process over the same folder."""
        return Dispatcher(self.registry, self.fleet.heads, self.asked.append, lambda: self.now)

    def say(self, device: str, kind: str, **body: object) -> None:
        self.rollouts.observe([Observation(device, kind, self.now, body)])
        self.rollouts.step()

    def after(self, seconds: float) -> None:
        self.now += round(seconds * 1000)
        self.rollouts.step()

    def create(self) -> str:
        return self.rollouts.create("weather", "1.1.0", STAGES, POLICY)

    def states(self, rollout: str) -> dict[str, str]:
        return {d["id"]: d["state"] for d in self.rollouts.status(rollout)["devices"]}

    def head(self, name: str) -> tuple[str, int] | None:
        head = self.registry.releases.head(name)
        return (head.release, head.sequence) if head else None


@pytest.fixture
def bench(tmp_path: Path, ceremony) -> Iterator[Bench]:
    with Fleet.create(tmp_path / "fleet", ceremony.folder) as fleet:
        yield Bench(fleet, tmp_path, ceremony)


def test_offer_is_on_disk_before_the_device_is_asked(bench):
    seen = []
    bench.rollouts = Dispatcher(
        bench.registry,
        bench.fleet.heads,
        lambda name: seen.append((name, bench.head(name), bench.registry.rollouts.all()[0].state)),
        lambda: bench.now,
    )
    bench.create()
    assert seen == [("w-0", (bench.new, 1), "running")]


def test_new_process_goes_on_where_the_old_one_stopped(bench):
    rollout = bench.create()
    bench.say("w-0", "state", release=bench.new, confirmed=True)
    bench.rollouts = bench.start()
    assert bench.states(rollout)["w-0"] == "confirmed"
    bench.after(61)
    bench.rollouts = bench.start()
    bench.after(1)
    assert set(bench.states(rollout).values()) == {"confirmed", "offered"}
    assert bench.asked.count("w-0") == 1, "nothing is offered twice"
    assert bench.head("w-1") == (bench.new, 1)


def _disk_full(*_args: object) -> None:
    raise OSError("disk full")


def test_rollout_that_cannot_be_stored_does_not_start(bench, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(bench.registry.rollouts, "save", _disk_full)
        with pytest.raises(OSError):
            bench.create()
    bench.after(1)
    assert bench.head("w-0") is None and bench.asked == [] and bench.rollouts.all() == []
    bench.create()
    assert bench.asked == ["w-0"]


def test_step_that_cannot_be_stored_is_repeated_whole(bench, monkeypatch):
    rollout = bench.create()
    with monkeypatch.context() as broken:
        broken.setattr(bench.registry.rollouts, "save", _disk_full)
        with pytest.raises(OSError):
            bench.say("w-0", "update", s="refused", release=bench.new, code="slot-budget")
    assert bench.head("w-0") == (bench.new, 1), "no head without its rollout"
    bench.after(1)
    assert bench.rollouts.status(rollout)["state"] == "aborted"
    assert bench.head("w-0") == (bench.old, 2)
    assert bench.asked == ["w-0", "w-0"]


def test_abort_points_the_head_back_with_a_higher_sequence(bench):
    rollout = bench.create()
    bench.say("w-0", "update", s="rebooting", release=bench.new)
    bench.say("w-0", "state", release=bench.old, confirmed=True)
    assert bench.rollouts.status(rollout)["state"] == "aborted"
    assert bench.head("w-0") == (bench.old, 2)
    assert bench.head("w-1") is None
    assert bench.asked == ["w-0", "w-0"]


def test_aborted_rollout_is_followed_by_the_next(bench):
    first = bench.create()
    bench.rollouts.abort(first)
    second = bench.create()
    bench.say("w-0", "state", release=bench.new, confirmed=True)
    assert bench.states(second)["w-0"] == "confirmed"
    assert bench.states(first)["w-0"] == "skipped", "a closed rollout no longer changes"
    with pytest.raises(OutpostError) as caught:
        bench.rollouts.resume(first)
    assert caught.value.code == "rollout-closed"


def test_device_without_a_head_gets_one_that_keeps_it_where_it_is(bench):
    for body in ({"release": "ee" * 32, "confirmed": True}, {"release": bench.old},
                 {"release": 7, "confirmed": True}):
        bench.say("w-1", "state", **body)
    bench.say("w-1", "state-retained", release=bench.old, confirmed=True)
    assert bench.head("w-1") is None
    for _ in range(2):
        bench.say("w-1", "state", release=bench.old, confirmed=True)
    assert bench.head("w-1") == (bench.old, 1)
    bench.create()
    bench.say("w-0", "state", release=bench.new, confirmed=True)
    assert bench.head("w-0") == (bench.new, 1), "the rollout's own"


def test_devices_enrolled_later_join(bench):
    rollout = bench.create()
    bench.enroll("w-9")
    bench.after(JOIN_EVERY_MS / 1000 + 1)
    assert bench.states(rollout)["w-9"] == "pending"


def test_retired_devices_leave_the_rollout(bench):
    rollout = bench.create()
    bench.registry.devices.set_state("w-0", "decommissioned")
    bench.registry.devices.set_state("w-1", "decommissioned")
    bench.after(JOIN_EVERY_MS / 1000 + 1)
    assert bench.states(rollout) == {"w-0": "skipped", "w-1": "skipped", "w-2": "offered"}


def test_what_the_engine_did_is_in_the_audit(bench):
    rollout = bench.create()
    bench.rollouts.pause(rollout, "look", actor="ann")
    bench.rollouts.resume(rollout, actor="ann")
    lines = [
        (line.actor, line.action)
        for line in bench.registry.audit.lines()
        if line.subject == rollout
    ][::-1]
    assert lines == [
        ("local", "rollout"),
        ("ann", "rollout-pause"),
        ("engine", "rollout-note"),
        ("ann", "rollout-resume"),
        ("engine", "rollout-note"),
    ]
    assert bench.registry.audit.verify() is None


def test_fleet_without_a_head_key_starts_no_rollout(tmp_path, bench, ceremony):
    (bench.fleet.folder / "keys" / "head.pem").unlink()
    with Fleet.open(bench.fleet.folder) as keyless:
        rollouts = Dispatcher(keyless.registry, keyless.heads, bench.asked.append)
        with pytest.raises(OutpostError) as caught:
            rollouts.create("weather", "1.1.0", STAGES)
    assert caught.value.code == "no-head-key"
    assert bench.registry.rollouts.all() == []


def test_house_is_kept_about_once_an_hour(bench):
    kept: list[int] = []
    bench.rollouts.keep_house = kept.append
    for _ in range(200):
        bench.after(60)
    assert len(kept) in (3, 4)


def test_thread_survives_a_failing_step(bench, monkeypatch):
    steps = []

    def step() -> int:
        steps.append(1)
        if len(steps) == 1:
            raise OSError("locked")
        return bench.now + 60_000

    monkeypatch.setattr(bench.rollouts, "step", step)
    bench.rollouts.start()
    bench.rollouts.observe([])
    for _ in range(100):
        if len(steps) > 1:
            break
        bench.rollouts.observe([])
        import time

        time.sleep(0.02)
    bench.rollouts.stop()
    assert len(steps) > 1
