"""The rollout engine: every device state against everything a device can say, the gates at their
edges, and whole rollouts with a clock of our own."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from outpost.errors import OutpostError
from outpost.fleet.observation import Observation
from outpost.fleet.rollout import (
    Candidate,
    Plan,
    Policy,
    Rollout,
    RolloutState,
    Stage,
    State,
    Tally,
)
from outpost.fleet.rollout.gates import chance, judge
from outpost.fleet.rollout.plan import ACTIVE, ENDED, FAILURES, bucket

NEW, OLD, OTHER = "aa" * 32, "bb" * 32, "cc" * 32
POLICY = Policy(soak_s=60, offers_per_minute=60_000)
CANARY_THEN_ALL = (Stage("canary", ("d-0",)), Stage("all", percent=100))


class Bench:
    """A rollout, its clock, and short words for what devices say."""

    def __init__(
        self,
        count: int = 4,
        stages=CANARY_THEN_ALL,
        policy: Policy = POLICY,
        epochs: tuple[int, int] = (0, 0),
    ) -> None:
        self.now = 1_000_000
        plan = Plan("r-1", "weather", NEW, "1.1.0", epochs[1], ("sim",), stages, policy)
        self.rollout = Rollout(plan, self.now)
        self.actions: list[tuple[str, str, str]] = []
        self.rollout.join(
            [
                Candidate(
                    f"d-{i}", "sim", release=OLD, confirmed=True, epoch=epochs[0], seen_ms=self.now
                )
                for i in range(count)
            ],
            self.now,
        )
        self.tick()
        self.tick(1)

    def tick(self, after_s: float = 0) -> None:
        self.now += round(after_s * 1000)
        self.rollout.tick(self.now)
        self.actions += [(a.kind, a.device, a.release) for a in self.rollout.pending()]
        self.rollout.settle()

    def say(self, device: str, kind: str, **body: object) -> None:
        self.rollout.observe(Observation(device, kind, self.now, body))

    def step(self, device: str, step: str, release: str = NEW, **more: object) -> None:
        self.say(device, "update", s=step, release=release, **more)

    def runs(self, device: str, release: str, confirmed: bool = True) -> None:
        self.say(device, "state", release=release, confirmed=confirmed)

    def updates(self, device: str) -> None:
        for state in ACTIVE:
            self.step(device, state)
        self.runs(device, NEW, confirmed=False)
        self.runs(device, NEW)

    def crashes(self, device: str) -> None:
        self.step(device, "rebooting")
        self.runs(device, OLD)
        self.say(device, "evidence", digest=NEW, cause="exception")

    def state(self, device: str) -> State:
        return self.rollout.members[device].state

    def states(self) -> list[State]:
        return [member.state for member in self.rollout.members.values()]

    def put(self, device: str, state: State) -> None:
        """Where the engine could have brought it itself: offered, and last heard now."""
        member = self.rollout.members[device]
        member.offers, member.heard_ms = 1, self.now
        self.rollout._move(device, state, "", self.now)

    def offered(self) -> list[str]:
        return [device for kind, device, _ in self.actions if kind == "offer"]


# --- whole rollouts


def test_canary_then_the_rest_then_complete():
    bench = Bench()
    assert bench.offered() == ["d-0"]
    bench.updates("d-0")
    bench.tick()
    bench.tick(59)
    assert bench.offered() == ["d-0"], "the canary soaks first"
    bench.tick(1)
    assert set(bench.offered()) == {"d-0", "d-1", "d-2", "d-3"}
    for device in ("d-1", "d-2", "d-3"):
        bench.updates(device)
    bench.tick()
    bench.tick(60)
    assert bench.rollout.state is RolloutState.COMPLETED
    assert bench.states() == [State.CONFIRMED] * 4


def test_crashing_canary_aborts_and_nobody_else_is_offered_it():
    bench = Bench()
    bench.crashes("d-0")
    bench.tick()
    assert bench.rollout.state is RolloutState.ABORTED
    assert bench.state("d-0") is State.ROLLED_BACK
    assert bench.rollout.members["d-0"].code == "exception"
    assert bench.states()[1:] == [State.SKIPPED] * 3
    assert bench.offered() == ["d-0"]
    assert bench.actions[-1] == ("take_back", "d-0", OLD)


def test_dark_canary_aborts_and_is_taken_back():
    bench = Bench()
    bench.step("d-0", "rebooting")
    bench.tick(POLICY.install_timeout_s - 1)
    assert bench.rollout.state is RolloutState.RUNNING
    bench.tick(1)
    assert (bench.rollout.state, bench.state("d-0")) == (RolloutState.ABORTED, State.DARK)
    assert bench.rollout.reason == "1 canary dark"
    assert ("take_back", "d-0", OLD) in bench.actions


def test_sleeper_that_was_only_offered_it_has_longer():
    bench = Bench()
    bench.tick(POLICY.dark_after_s - 2)
    assert bench.state("d-0") is State.OFFERED
    bench.tick(1)
    assert bench.state("d-0") is State.DARK


def test_stuck_device_that_talks_is_failed_not_dark():
    bench = Bench(policy=replace(POLICY, retries=0))
    for _ in range(61):
        bench.tick(60)
        bench.say("d-0", "seen")
    assert bench.state("d-0") is State.FAILED
    assert bench.rollout.members["d-0"].code == "timeout-offered"


def test_failed_download_is_offered_again_with_growing_pauses_then_given_up():
    bench = Bench()
    pauses = []
    for _ in range(3):
        bench.step("d-0", "failed", code="link")
        before = bench.now
        while bench.state("d-0") is State.PENDING:
            bench.tick(10)
        pauses.append((bench.now - before) // 1000)
    assert pauses == [300, 1200, 0]
    assert bench.state("d-0") is State.FAILED
    assert bench.rollout.members["d-0"].code == "link"


def test_device_that_retries_by_itself_before_the_next_offer_is_followed():
    bench = Bench()
    bench.step("d-0", "failed", code="link")
    bench.step("d-0", "downloading")
    assert bench.state("d-0") is State.DOWNLOADING


def test_refusal_is_final_and_keeps_its_code():
    bench = Bench()
    bench.step("d-0", "refused", code="slot-budget")
    assert bench.state("d-0") is State.FAILED
    assert bench.rollout.members["d-0"].code == "slot-budget"


def test_evidence_of_a_failed_try_is_not_yet_a_rollback():
    bench = Bench()
    bench.step("d-0", "rebooting")
    bench.runs("d-0", NEW, confirmed=False)
    bench.say("d-0", "evidence", digest=NEW, cause="watchdog")
    assert bench.state("d-0") is State.REBOOTING
    bench.runs("d-0", NEW)
    assert bench.state("d-0") is State.CONFIRMED


def test_rollback_is_seen_when_the_rebooting_event_was_lost():
    bench = Bench()
    bench.step("d-0", "verified")
    bench.runs("d-0", OLD)
    assert bench.state("d-0") is State.VERIFIED, "a reset before activation changes nothing"
    bench.say("d-0", "evidence", digest=NEW, cause="unhealthy")
    assert bench.state("d-0") is State.ROLLED_BACK


def test_retained_state_can_confirm_but_never_roll_back():
    bench = Bench()
    bench.step("d-0", "rebooting")
    bench.say("d-0", "state-retained", release=OLD, confirmed=True)
    assert bench.state("d-0") is State.REBOOTING
    bench.say("d-0", "state-retained", release=NEW, confirmed=True)
    assert bench.state("d-0") is State.CONFIRMED


@pytest.mark.parametrize("state", [State.FAILED, State.ROLLED_BACK, State.SKIPPED])
def test_retained_state_of_unknown_age_does_not_undo_a_failure(state):
    bench = Bench()
    bench.put("d-0", state)
    bench.say("d-0", "state-retained", release=NEW, confirmed=True)
    assert bench.state("d-0") is state


def test_soak_starts_again_when_a_stage_was_unhealthy_in_between():
    names = tuple(f"d-{number}" for number in range(20))
    stages = (Stage("twenty", names), Stage("all", percent=100))
    bench = Bench(21, stages)
    for name in names[:19]:
        bench.updates(name)
    bench.tick()
    bench.tick(50)
    bench.runs("d-0", OLD)
    bench.tick()
    bench.updates("d-19")
    bench.tick()
    bench.tick(50)
    assert bench.rollout.stage == 0
    bench.tick(10)
    assert bench.rollout.stage == 1


def test_dark_device_that_comes_back_confirmed_counts_as_confirmed():
    bench = Bench(policy=replace(POLICY, canary_abort_dark=0, abort_rate=1.1))
    bench.tick(POLICY.dark_after_s)
    assert bench.state("d-0") is State.DARK
    bench.runs("d-0", NEW)
    assert bench.state("d-0") is State.CONFIRMED


def test_confirmed_device_that_falls_back_later_counts_as_failed():
    bench = Bench()
    bench.updates("d-0")
    bench.tick()
    bench.runs("d-0", OLD)
    bench.tick()
    assert bench.state("d-0") is State.ROLLED_BACK
    assert bench.rollout.state is RolloutState.ABORTED


def test_abort_takes_back_confirmed_devices_until_they_report_the_old_release():
    bench = Bench()
    bench.updates("d-0")
    bench.tick()
    bench.rollout.abort("by hand")
    bench.tick()
    assert bench.rollout.members["d-0"].back == "offered"
    bench.runs("d-0", OLD)
    member = bench.rollout.members["d-0"]
    assert (member.state, member.code, member.back) == (State.ROLLED_BACK, "taken-back", "done")


def test_device_that_confirms_after_the_abort_is_taken_back_too():
    bench = Bench()
    bench.step("d-0", "rebooting")
    bench.rollout.abort("by hand")
    bench.tick()
    assert bench.state("d-0") is State.REBOOTING
    bench.actions.clear()
    bench.runs("d-0", NEW)
    bench.tick()
    assert bench.actions == [("take_back", "d-0", OLD)]


def test_confirmed_device_across_an_epoch_is_not_asked_to_go_back():
    bench = Bench(epochs=(0, 1))
    bench.updates("d-0")
    bench.tick()
    bench.actions.clear()
    bench.rollout.abort("by hand")
    bench.tick()
    assert bench.rollout.members["d-0"].back == "epoch"
    assert [a for a in bench.actions if a[0] == "take_back"] == []


def test_device_without_a_known_release_before_cannot_be_taken_back():
    bench = Bench()
    bench.rollout.members["d-0"].previous = None
    bench.rollout.abort("by hand")
    assert bench.rollout.members["d-0"].back == "unknown"


@pytest.mark.parametrize(
    "change, code",
    [({"active": False}, "not-active"), ({"board": "other"}, "board"), ({"epoch": 5}, "epoch")],
)
def test_devices_that_cannot_take_it_are_skipped(change, code):
    bench = Bench(1)
    candidate = replace(Candidate("d-9", "sim", release=OLD, confirmed=True), **change)
    bench.rollout.join([candidate], bench.now)
    member = bench.rollout.members["d-9"]
    assert (member.state, member.code) == (State.SKIPPED, code)


def test_devices_that_run_it_already_do_not_count():
    bench = Bench(1)
    bench.rollout.join([Candidate("d-9", "sim", release=NEW, confirmed=True)], bench.now)
    assert bench.state("d-9") is State.CONFIRMED
    assert bench.rollout.tally(1).size == 0


def test_device_enrolled_during_the_rollout_joins_its_stage():
    bench = Bench(2)
    bench.updates("d-0")
    bench.tick()
    bench.tick(60)
    bench.rollout.join([Candidate("d-9", "sim", release=OLD, confirmed=True)], bench.now)
    bench.tick(1)
    assert bench.state("d-9") is State.OFFERED


def test_unknown_devices_are_ignored():
    bench = Bench()
    bench.runs("stranger", NEW)
    assert "stranger" not in bench.rollout.members


# --- pausing


def test_pause_stops_offers_and_resume_goes_on():
    bench = Bench()
    bench.rollout.pause("by hand")
    bench.updates("d-0")
    bench.tick(600)
    assert bench.offered() == ["d-0"]
    bench.rollout.resume()
    bench.tick()
    bench.tick(60)
    assert len(bench.offered()) == 4


def test_two_canary_failures_pause_and_resume_pardons_them():
    stages = (Stage("canary", tuple(f"d-{i}" for i in range(9))), Stage("all", percent=100))
    bench = Bench(10, stages)
    for device in ("d-0", "d-1"):
        bench.crashes(device)
    bench.tick()
    assert (bench.rollout.state, bench.rollout.reason) == (
        RolloutState.PAUSED,
        "2 canaries failed",
    )
    bench.rollout.resume()
    for number in range(2, 9):
        bench.updates(f"d-{number}")
    bench.tick()
    bench.tick(60)
    assert bench.rollout.stage == 1, "an operator has looked at the two"


def test_new_failure_after_resume_counts_again():
    stages = (Stage("canary", tuple(f"d-{i}" for i in range(9))), Stage("all", percent=100))
    bench = Bench(10, stages)
    for device in ("d-0", "d-1"):
        bench.crashes(device)
    bench.tick()
    bench.rollout.resume()
    bench.crashes("d-2")
    bench.tick()
    assert bench.rollout.state is RolloutState.PAUSED


def test_orders_that_do_not_fit_the_state_are_refused():
    bench = Bench()
    with pytest.raises(OutpostError, match="cannot be resumed"):
        bench.rollout.resume()
    bench.rollout.abort("by hand")
    for order in (
        bench.rollout.resume,
        lambda: bench.rollout.pause("x"),
        lambda: bench.rollout.abort("x"),
    ):
        with pytest.raises(OutpostError) as caught:
            order()
        assert caught.value.code == "rollout-state"


# --- gates at their edges


@pytest.mark.parametrize(
    "tally, canary, expected",
    [
        (Tally(100, 97, 0, 0), False, ("", "", True)),
        (Tally(100, 94, 0, 0), False, ("", "", False)),
        (Tally(100, 95, 2, 0), False, ("", "", True)),  # 2.06 %
        (Tally(100, 60, 2, 0), False, ("", "2 of 62 failed", False)),  # 3.2 %
        (Tally(100, 4, 1, 0), False, ("", "", False)),  # one failure alone
        (Tally(100, 3, 1, 1), False, ("", "", False)),  # dark, but not a canary
        (Tally(100, 18, 2, 0), False, ("", "2 of 20 failed", False)),  # 10 %, but by chance?
        (Tally(100, 36, 4, 0), False, ("", "4 of 40 failed", False)),  # 3.1 % of chance
        (Tally(100, 45, 5, 0), False, ("", "5 of 50 failed", False)),  # 1.7 %
        (Tally(100, 63, 7, 0), False, ("7 of 70 failed", "", False)),  # 0.5 %, exactly 10 %
        (Tally(100, 64, 7, 0), False, ("", "7 of 71 failed", False)),  # 9.86 %
        (Tally(100, 7, 3, 0), False, ("3 of 10 failed", "", False)),
        (Tally(100, 2, 2, 0), False, ("", "", False)),  # fewer than min_ended
        (Tally(1, 0, 1, 0), False, ("1 of 1 failed", "", False)),  # all of a small stage
        (Tally(5, 4, 1, 0), False, ("1 of 5 failed", "", False)),
        (Tally(5, 3, 1, 0), False, ("", "", False)),  # not all of it yet
        (Tally(10, 9, 1, 0), True, ("", "only 9 of 10 healthy", False)),
        (Tally(20, 19, 1, 0), False, ("", "", True)),  # one of many is an accident
        (Tally(8, 0, 2, 0), True, ("", "2 canaries failed", False)),
        (Tally(8, 5, 1, 1), True, ("1 canary dark", "", False)),
        (Tally(0, 0, 0, 0), True, ("", "", True)),
    ],
)
def test_gates(tally, canary, expected):
    verdict = judge(Policy(), tally, canary, 0)
    assert (verdict.abort, verdict.pause, verdict.healthy) == expected


def test_chance_is_the_binomial_tail():
    assert chance(0, 10, 0.03) == 1.0
    assert chance(1, 1, 0.03) == pytest.approx(0.03)
    assert chance(2, 3, 0.5) == pytest.approx(0.5)
    assert chance(1, 50, 0.03) == pytest.approx(1 - 0.97**50)
    assert chance(9_000, 10_000, 0.5) == pytest.approx(0, abs=1e-9)
    assert (chance(1, 5, 0.0), chance(0, 5, 0.0), chance(5, 5, 1.0)) == (0.0, 1.0, 1.0)


# --- every state against every sentence

_SENTENCES = {
    "seen": ("seen", {}),
    **{
        f"step {word}": ("update", {"s": word, "release": NEW})
        for word in (
            "offered",
            "downloading",
            "verified",
            "installing",
            "rebooting",
            "confirmed",
            "refused",
            "failed",
            "nonsense",
        )
    },
    "foreign step": ("update", {"s": "refused", "release": OTHER}),
    "new confirmed": ("state", {"release": NEW, "confirmed": True}),
    "new on trial": ("state", {"release": NEW, "confirmed": False}),
    "old": ("state", {"release": OLD, "confirmed": True}),
    "retained new": ("state-retained", {"release": NEW, "confirmed": True}),
    "retained old": ("state-retained", {"release": OLD, "confirmed": True}),
    "evidence": ("evidence", {"digest": NEW, "cause": "exception"}),
    "foreign evidence": ("evidence", {"digest": OTHER, "cause": "exception"}),
    "boot": ("boot", {}),
    "garbage state": ("state", {"release": 7, "confirmed": "yes"}),
    "garbage update": ("update", {"s": None, "release": [], "code": {}}),
}
_CERTAIN = {"new confirmed": State.CONFIRMED}


@pytest.mark.parametrize("rollout_state", list(RolloutState))
@pytest.mark.parametrize("state", list(State))
def test_every_state_survives_every_pair_of_sentences(rollout_state, state):
    for first, second in itertools.product(_SENTENCES, repeat=2):
        bench = Bench(2)
        bench.put("d-0", state)
        bench.rollout.state = rollout_state
        for name in (first, second):
            kind, body = _SENTENCES[name]
            before = bench.state("d-0")
            bench.say("d-0", kind, **body)
            _check(bench, before, name)
        bench.tick(1)
        assert bench.state("d-0") in State


def _check(bench: Bench, before: State, sentence: str) -> None:
    after = bench.state("d-0")
    if sentence in _CERTAIN:
        assert after is _CERTAIN[sentence]
    if after is State.CONFIRMED and before is not State.CONFIRMED:
        assert sentence in ("new confirmed", "retained new", "step confirmed")
    if sentence in (
        "seen",
        "boot",
        "foreign step",
        "foreign evidence",
        "retained old",
        "garbage update",
    ):
        assert after is before, (before, sentence, after)
    if before is State.CONFIRMED and after is not before:
        assert sentence in ("old", "garbage state")
    if after is State.DARK:
        assert before is State.DARK, "only silence makes a device dark"


@pytest.mark.parametrize("state", list(State))
def test_silence_ends_every_active_state_and_no_other(state):
    bench = Bench(2, policy=replace(POLICY, canary_abort_dark=0, abort_rate=2, pause_rate=2))
    bench.put("d-0", state)
    bench.rollout.members["d-0"].retry_ms = bench.now + 10**9
    bench.rollout.state = RolloutState.PAUSED
    bench.tick(POLICY.dark_after_s)
    assert bench.state("d-0") is (State.DARK if state in ACTIVE else state)


# --- stages


def test_percentages_are_sticky_and_near_their_size():
    stage = Stage("5 %", percent=5)
    members = {f"d-{i}" for i in range(10_000) if stage.has("r-1", f"d-{i}")}
    assert 420 < len(members) < 580
    wider = Stage("25 %", percent=25)
    assert all(wider.has("r-1", name) for name in members)
    assert bucket("r-1", "d-1") != bucket("r-2", "d-1")


def test_empty_stages_are_passed_without_soaking():
    stages = tuple(Stage(f"{p} %", percent=p) for p in (0.01, 0.02, 100))
    bench = Bench(3, stages)
    assert len(bench.offered()) == 3


@pytest.mark.parametrize(
    "stages",
    [
        (),
        (Stage("nobody"),),
        (Stage("a", percent=50), Stage("b", percent=10)),
        (Stage("a", percent=101),),
    ],
)
def test_senseless_stages_are_refused(stages):
    with pytest.raises(OutpostError) as caught:
        Plan("r", "p", NEW, "1", 0, ("sim",), stages)
    assert caught.value.code == "stages"


@pytest.mark.parametrize(
    "change", [{"soak_s": -1}, {"success_rate": 0}, {"abort_rate": "x"}, {"offers_per_minute": 0}]
)
def test_senseless_policies_are_refused(change):
    with pytest.raises(OutpostError) as caught:
        Policy(**change)
    assert caught.value.code == "policy"


def test_offers_are_spread_over_time():
    policy = replace(POLICY, offers_per_minute=60)
    bench = Bench(200, (Stage("all", percent=100),), policy)
    counts = []
    for _ in range(60):
        before = len(bench.offered())
        bench.tick(1)
        counts.append(len(bench.offered()) - before)
    assert sum(counts) == 60 and max(counts) <= 2


def test_a_long_pause_does_not_save_up_a_burst():
    bench = Bench(500, (Stage("all", percent=100),), replace(POLICY, offers_per_minute=60))
    bench.tick(3600)
    assert len(bench.offered()) <= 12


# --- storage


def test_stored_and_loaded_engine_goes_on_the_same():
    bench = Bench()
    bench.step("d-0", "downloading")
    document, members = (
        bench.rollout.to_json(),
        {name: member.to_json() for name, member in bench.rollout.members.items()},
    )
    loaded = Rollout.from_json(document, members, bench.now)
    members["d-0"]["heard_ms"] = bench.now
    assert loaded.to_json() == document
    assert {n: m.to_json() for n, m in loaded.members.items()} == members
    bench.rollout = loaded
    bench.updates("d-0")
    bench.tick()
    bench.tick(60)
    assert len(bench.offered()) == 4


def test_our_own_downtime_makes_no_device_dark():
    bench = Bench()
    document = bench.rollout.to_json()
    members = {name: member.to_json() for name, member in bench.rollout.members.items()}
    later = bench.now + 10 * POLICY.dark_after_s * 1000
    loaded = Rollout.from_json(document, members, later)
    loaded.tick(later)
    assert loaded.members["d-0"].state is not State.DARK


def test_pending_actions_stay_until_settled():
    bench = Bench()
    bench.rollout.abort("by hand")
    bench.rollout.tick(bench.now)
    first = bench.rollout.pending()
    assert first and bench.rollout.pending() == first and bench.rollout.unsaved
    bench.rollout.settle()
    assert not bench.rollout.pending() and not bench.rollout.unsaved


def test_random_fleets_always_settle():
    """Whatever devices do, a rollout ends or waits for a person, and its books add up."""
    for seed in range(60):
        rng = random.Random(seed)
        bench = Bench(
            40,
            (
                Stage("canary", ("d-0", "d-1")),
                Stage("20 %", percent=20),
                Stage("all", percent=100),
            ),
        )
        words = list(_SENTENCES)
        for _ in range(400):
            if rng.random() < 0.7:
                kind, body = _SENTENCES[rng.choice(words)]
                bench.say(f"d-{rng.randrange(40)}", kind, **body)
            bench.tick(rng.choice((0, 1, 30, 600)))
        for _ in range(40):
            bench.tick(POLICY.dark_after_s)
        left = [s for s in bench.states() if s in ACTIVE]
        assert bench.rollout.state is not RolloutState.RUNNING or left == [], seed
        for stage in range(3):
            members = [m for m in bench.rollout.members.values() if m.stage == stage]
            assert bench.rollout.tally(stage) == Tally.of(members), "the running count"
        offered = set(bench.offered())
        for name, member in bench.rollout.members.items():
            assert member.state in ENDED or member.state is State.PENDING, (seed, name)
            assert (member.offers > 0) == (name in offered)
            if member.state in FAILURES and name not in offered:
                pytest.fail(f"{name} failed without an offer (seed {seed})")
