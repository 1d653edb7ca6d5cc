"""`make rollout-sim`: whole rollouts over thousands of simulated devices, in virtual time.

The engine is the real one; a device here is a few random choices drawn from a seed: how often it
checks in, how long an update takes, whether it crashes, refuses, hangs or goes silent.  Each
scenario states what must come of it, and the run fails when it does not: how many devices a bad
release reached is the figure that counts.
"""

import argparse
import heapq
import json
import random
import sys
import time
from dataclasses import dataclass, field

from outpost.fleet.observation import Observation
from outpost.fleet.rollout import Candidate, Plan, Policy, Rollout, RolloutState, Stage, State

NEW, OLD = "aa" * 32, "bb" * 32
HOUR_MS = 3_600_000
CANARIES = tuple(f"d-{number}" for number in range(10))
STAGES = (
    Stage("lab", CANARIES),
    *(Stage(f"{p} %", percent=p) for p in (1, 5, 25, 50, 100)),
)
MAX_DAYS = 60


@dataclass(frozen=True)
class Scenario:
    """Probabilities per device of ending each way, and what the rollout must come to."""

    name: str
    ends: dict[str, float]
    expect: tuple[RolloutState, ...]
    reached_at_most: float = 1.0  # share of the fleet, beside the canaries, that may be offered it
    bad_board_share: float = 0.0  # devices that crash for certain: a board the lab does not have
    policy: Policy = field(default_factory=lambda: Policy(offers_per_minute=600))


DONE, UNDONE = (RolloutState.COMPLETED,), (RolloutState.ABORTED,)
# Which of the two is a matter of who fails first; both stop the release.
HALTED = (RolloutState.PAUSED, RolloutState.ABORTED)
SCENARIOS = (
    Scenario("healthy", {"crash": 0.001, "dark": 0.001, "download": 0.02}, DONE),
    Scenario("crashes everywhere", {"crash": 1.0}, UNDONE, 0),
    Scenario("goes dark everywhere", {"dark": 1.0}, UNDONE, 0),
    Scenario("crashes on a fifth", {"crash": 0.2}, HALTED, 0.02),
    Scenario("crashes on one board in eight", {}, HALTED, 0.06, bad_board_share=0.125),
    Scenario("fails on one in twenty", {"crash": 0.05}, HALTED, 0.06),
    Scenario("bad network", {"download": 0.2}, DONE),
    Scenario("refused by one in twelve", {"refuse": 0.08}, HALTED, 0.06),
)


class SimulatedDevice:
    """Answers an offer with a list of (delay ms, observation kind, body)."""

    def __init__(self, name: str, rng: random.Random, scenario: Scenario) -> None:
        self.name = name
        self.release = OLD
        self._rng = rng
        self._scenario = scenario
        self.check_in_ms = rng.choice((60_000, 600_000, HOUR_MS // 2))
        lab = name in CANARIES
        self.bad_board = not lab and rng.random() < scenario.bad_board_share

    def react(self, release: str) -> list[tuple[int, str, dict[str, object]]]:
        at = self._rng.randrange(self.check_in_ms) + 1000
        if release != NEW:
            self.release = release
            return [(at + 60_000, "state", {"release": release, "confirmed": True})]
        said = [(at, "update", {"s": "downloading", "release": NEW})]
        end = "crash" if self.bad_board else self._draw()
        if end == "download":
            return [
                *said,
                (at + 60_000, "update", {"s": "failed", "code": "link", "release": NEW}),
            ]
        if end == "refuse":
            return [(at, "update", {"s": "refused", "code": "slot-budget", "release": NEW})]
        at += self._rng.randrange(20_000, 300_000)
        for step in ("verified", "installing", "rebooting"):
            at += 2_000
            said.append((at, "update", {"s": step, "release": NEW}))
        return said + self._after_reset(end, at)

    def _after_reset(self, end: str, at: int) -> list[tuple[int, str, dict[str, object]]]:
        if end == "dark":
            return []
        if end == "crash":
            return [
                (at + 90_000, "state", {"release": OLD, "confirmed": True}),
                (at + 90_001, "evidence", {"digest": NEW, "cause": "exception"}),
            ]
        self.release = NEW
        return [
            (at + 20_000, "state", {"release": NEW, "confirmed": False}),
            (at + 80_000, "state", {"release": NEW, "confirmed": True}),
        ]

    def _draw(self) -> str:
        roll = self._rng.random()
        for end, share in self._scenario.ends.items():
            if roll < share:
                return end
            roll -= share
        return "confirm"


@dataclass
class Outcome:
    scenario: Scenario
    rollout: Rollout
    offered: int
    steps: int
    virtual_ms: int
    seconds: float
    slowest_step_ms: float

    @property
    def reached(self) -> float:
        count = len(self.rollout.members)
        return max(0, self.offered - len(CANARIES)) / max(1, count - len(CANARIES))

    def problems(self) -> list[str]:
        found = []
        if self.rollout.state not in self.scenario.expect:
            found.append(f"ended {self.rollout.state}, not {' or '.join(self.scenario.expect)}")
        if self.reached > self.scenario.reached_at_most:
            found.append(f"reached {self.reached:.2%} of the fleet")
        left = [
            m
            for m in self.rollout.members.values()
            if self.rollout.state is RolloutState.ABORTED
            and m.back == "offered"
            and m.state is not State.DARK
        ]
        if left:
            found.append(f"{len(left)} devices were not taken back")
        return found


def simulate(scenario: Scenario, count: int, seed: int) -> Outcome:
    rng = random.Random(f"{seed}/{scenario.name}")
    devices = {f"d-{n}": SimulatedDevice(f"d-{n}", rng, scenario) for n in range(count)}
    plan = Plan(f"r-{seed}", "weather", NEW, "2.0.0", 0, ("sim",), STAGES, scenario.policy)
    rollout = Rollout(plan, 0)
    rollout.join([Candidate(name, "sim", release=OLD, confirmed=True) for name in devices], 0)
    return _run(rollout, devices, scenario)


def _run(rollout: Rollout, devices: dict[str, SimulatedDevice], scenario: Scenario) -> Outcome:
    started, slowest, steps, now, order = time.perf_counter(), 0.0, 0, 0, 0
    queue: list[tuple[int, int, Observation]] = []
    offered: set[str] = set()
    over_ms = MAX_DAYS * 24 * HOUR_MS
    while now < over_ms:
        step_started = time.perf_counter()
        while queue and queue[0][0] <= now:
            rollout.observe(heapq.heappop(queue)[2])
        deadline = rollout.tick(now)
        slowest = max(slowest, time.perf_counter() - step_started)
        steps += 1
        for action in rollout.pending():
            if action.kind == "offer":
                offered.add(action.device)
            for delay, kind, body in (
                devices[action.device].react(action.release) if (action.device) else ()
            ):
                order += 1
                heapq.heappush(
                    queue,
                    (now + delay, order, Observation(action.device, kind, now + delay, body)),
                )
        rollout.settle()
        if not queue and _over(rollout):
            break
        # Ingest batches too: what comes within a second is one step.
        now = max(now + 1000, min([deadline, *[entry[0] for entry in queue[:1]]]))
    return Outcome(
        scenario, rollout, len(offered), steps, now, time.perf_counter() - started, slowest * 1000
    )


def _over(rollout: Rollout) -> bool:
    if rollout.state is RolloutState.RUNNING:
        return False
    active = any(
        m.state in ("offered", "downloading", "verified", "installing", "rebooting")
        for m in rollout.members.values()
    )
    return not active


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="run scenarios whose name contains this")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    outcomes = [
        simulate(scenario, arguments.devices, arguments.seed)
        for scenario in SCENARIOS
        if not arguments.only or arguments.only in scenario.name
    ]
    if arguments.json:
        print(json.dumps([_record(outcome) for outcome in outcomes]))
    else:
        _print(outcomes, arguments.devices)
    return 1 if any(outcome.problems() for outcome in outcomes) else 0


def _record(outcome: Outcome) -> dict[str, object]:
    states: dict[str, int] = {}
    for member in outcome.rollout.members.values():
        states[member.state.value] = states.get(member.state.value, 0) + 1
    return {
        "scenario": outcome.scenario.name,
        "state": outcome.rollout.state.value,
        "reason": outcome.rollout.reason,
        "reached": outcome.offered,
        "virtual_h": round(outcome.virtual_ms / HOUR_MS, 1),
        "steps": outcome.steps,
        "seconds": round(outcome.seconds, 2),
        "slowest_step_ms": round(outcome.slowest_step_ms, 1),
        "states": states,
        "problems": outcome.problems(),
    }


def _print(outcomes: list[Outcome], count: int) -> None:
    print(f"{count} devices, stages {', '.join(stage.name for stage in STAGES)}")
    print(
        f"{'scenario':30} {'outcome':10} {'reached':>8} {'days':>5} {'steps':>7} {'s':>6}"
        f" {'worst step':>10}  why"
    )
    for outcome in outcomes:
        record = _record(outcome)
        print(
            f"{outcome.scenario.name:30} {record['state']:10} {outcome.offered:8}"
            f" {outcome.virtual_ms / HOUR_MS / 24:5.1f} {outcome.steps:7} {outcome.seconds:6.1f}"
            f" {outcome.slowest_step_ms:7.1f} ms  {record['reason']}"
        )
        for problem in outcome.problems():
            print(f"  FAILED: {problem}")


if __name__ == "__main__":
    sys.exit(main())
