"""Running rollouts: engines in memory, their records in the registry, their orders carried out.

Invariants: what an engine decided is stored, with the heads it needs, in one transaction, before
any device hears of it; a crash at any point leaves a state from which the same engines go on.  All
engines live behind one lock; `observe` only queues, so ingest never waits for a rollout.
"""

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from outpost.errors import ExitCode, OutpostError
from outpost.fleet.heads import Heads
from outpost.fleet.observation import Observation
from outpost.fleet.registry import Device, Registry, RolloutRow
from outpost.fleet.rollout import (
    DEFAULT_STAGES,
    Action,
    Candidate,
    Plan,
    Policy,
    Rollout,
    Stage,
)
from outpost.fleet.rollout.plan import OPEN

MIN_STEP_S = 0.05
MAX_QUEUED = 100_000
JOIN_EVERY_MS = 5_000
HOUSE_EVERY_MS = 3_600_000
_log = logging.getLogger(__name__)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Dispatcher:
    """create/pause/resume/abort/status for people; start/stop/observe for the server."""

    def __init__(
        self,
        registry: Registry,
        heads: Heads,
        ask_to_check: Callable[[str], None],
        clock_ms: Callable[[], int] = _now_ms,
    ) -> None:
        self._registry = registry
        self._heads = heads
        self._ask_to_check = ask_to_check
        self._clock_ms = clock_ms
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._queue: deque[Observation] = deque(maxlen=MAX_QUEUED)
        self._engines: dict[str, Rollout] = {}
        self._joined_ms: dict[str, int] = {}
        self._kept_ms = 0
        # Called about once an hour; the server adds its own chores.
        self.keep_house: Callable[[int], object] = heads.renew
        self._load()

    def _load(self) -> None:
        """Open ones, and each product's newest: its dark devices may still come back."""
        newest: set[str] = set()
        for row in self._registry.rollouts.all():
            first = row.product not in newest
            newest.add(row.product)
            if first or row.state in OPEN:
                members = {
                    name: document
                    for name, (_, document) in self._registry.rollouts.devices(row.id).items()
                }
                self._engines[row.id] = Rollout.from_json(row.document, members, self._clock_ms())

    # --- for people

    def create(
        self,
        product: str,
        version: str,
        stages: Sequence[Stage] = DEFAULT_STAGES,
        policy: Policy | None = None,
        actor: str = "local",
    ) -> str:
        """Start rolling a published release out; the rollout's id."""
        release = self._registry.releases.by_version(product, version)
        self._heads.require_key()
        with self._lock:
            self._refuse_second(product)
            plan = Plan(
                f"r-{secrets.token_hex(4)}",
                product,
                release.digest,
                version,
                release.epoch,
                tuple(release.payload["boards"]),
                tuple(stages),
                policy or Policy(),
            )
            self._check_names(plan)
            rollout = Rollout(plan, self._clock_ms())
            self._audit(actor, "rollout", plan.id, {"product": product, "version": version})
            for other in [key for key, e in self._engines.items() if e.plan.product == product]:
                del self._engines[other]
            self._engines[plan.id] = rollout
            try:
                self.step()
            except BaseException:
                del self._engines[plan.id]
                raise
        self._wake.set()
        return plan.id

    def _refuse_second(self, product: str) -> None:
        for rollout in self._engines.values():
            if rollout.plan.product == product and rollout.state in OPEN:
                raise OutpostError(
                    "rollout-active",
                    f"{rollout.plan.id} of {product} is {rollout.state}",
                    "let it finish, or abort it first",
                    ExitCode.ALREADY_DONE,
                )

    def _check_names(self, plan: Plan) -> None:
        known = {device.id for device in self._registry.devices.all(plan.product)}
        unknown = sorted({name for stage in plan.stages for name in stage.devices} - known)
        if unknown:
            raise OutpostError(
                "unknown-device",
                f"no {plan.product} device {unknown[0]!r} in this fleet",
                "`outpost device list` shows them",
                ExitCode.DEVICE_NOT_FOUND,
            )

    def pause(self, rollout_id: str, reason: str = "by hand", actor: str = "local") -> None:
        self._order(rollout_id, actor, "pause", lambda rollout: rollout.pause(reason))

    def resume(self, rollout_id: str, actor: str = "local") -> None:
        self._order(rollout_id, actor, "resume", lambda rollout: rollout.resume())

    def abort(self, rollout_id: str, reason: str = "by hand", actor: str = "local") -> None:
        """Stop and take back what was offered."""
        self._order(rollout_id, actor, "abort", lambda rollout: rollout.abort(reason))

    def _order(
        self, rollout_id: str, actor: str, verb: str, act: Callable[[Rollout], None]
    ) -> None:
        with self._lock:
            rollout = self._engines.get(rollout_id)
            if rollout is None:
                self._row(rollout_id)
                raise OutpostError(
                    "rollout-closed", f"{rollout_id} is over", None, ExitCode.ALREADY_DONE
                )
            act(rollout)
            self._audit(actor, f"rollout-{verb}", rollout_id)
            self.step()
        self._wake.set()

    def all(self) -> list[dict[str, Any]]:
        """Newest first, without the devices."""
        return [self._summary(row) for row in self._registry.rollouts.all()]

    def status(self, rollout_id: str) -> dict[str, Any]:
        """All there is to know of one rollout, as JSON."""
        row = self._row(rollout_id)
        return {
            **self._summary(row),
            "devices": [
                {"id": name, **document}
                for name, (_, document) in self._registry.rollouts.devices(rollout_id).items()
            ],
        }

    def _row(self, rollout_id: str) -> RolloutRow:
        for row in self._registry.rollouts.all():
            if row.id == rollout_id:
                return row
        raise OutpostError(
            "unknown-rollout",
            f"no rollout {rollout_id!r}",
            "`outpost rollout list` shows them",
            ExitCode.DEVICE_NOT_FOUND,
        )

    def _summary(self, row: RolloutRow) -> dict[str, Any]:
        plan = row.document["plan"]
        states = [
            (state, document["stage"])
            for state, document in self._registry.rollouts.devices(row.id).values()
        ]
        stages = [
            {**stage, "counts": _count(s for s, number in states if number == index)}
            for index, stage in enumerate(plan["stages"])
        ]
        return {
            "id": row.id,
            "product": row.product,
            "release": row.release,
            "version": plan["version"],
            "state": row.state,
            "created_ms": row.created_ms,
            "reason": row.document["reason"],
            "stage": row.document["stage"],
            "stages": stages,
            "policy": plan["policy"],
            "healthy_since_ms": row.document["healthy_since_ms"],
            "counts": _count(state for state, _ in states),
        }

    # --- for the server

    def observe(self, observations: Iterable[Observation]) -> None:
        self._queue.extend(observations)
        self._wake.set()

    def start(self) -> None:
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="rollouts", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        if self._thread:
            self._thread.join(2.0)

    def _run(self) -> None:
        while not self._stopping:
            try:
                deadline_ms = self.step()
            except Exception:  # noqa: BLE001 - this thread must outlive any failure
                # A locked database passes; the engines have kept what they decided.
                _log.exception("rollout step failed; trying again")
                deadline_ms = self._clock_ms() + 1000
            self._wake.wait(max((deadline_ms - self._clock_ms()) / 1000, MIN_STEP_S))
            self._wake.clear()
            time.sleep(MIN_STEP_S)

    def step(self) -> int:
        """Take in what was observed, let time pass, store, then act; when to be called again."""
        with self._lock:
            now_ms = self._clock_ms()
            deadline_ms = now_ms + 60_000
            seen = [self._queue.popleft() for _ in range(len(self._queue))]
            for observation in seen:
                self._anchor(observation, now_ms)
            for rollout in self._engines.values():
                for observation in seen:
                    rollout.observe(observation)
                self._join(rollout, now_ms)
                deadline_ms = min(deadline_ms, rollout.tick(now_ms))
                self._carry_out(rollout, now_ms)
            if now_ms - self._kept_ms > HOUSE_EVERY_MS:
                self._kept_ms = now_ms
                self.keep_house(now_ms)
            return deadline_ms

    def _anchor(self, observation: Observation, now_ms: int) -> None:
        """A device that runs a release of ours and has no head gets one that says: stay.  So its
        checks succeed, and it would notice if heads stopped coming."""
        release = observation.body.get("release")
        if (
            observation.kind == "state"
            and observation.body.get("confirmed") is True
            and isinstance(release, str)
            and self._heads.can_sign
            and self._registry.releases.head(observation.device) is None
            and self._registry.releases.find(release) is not None
        ):
            self._heads.point(observation.device, release, now_ms)

    def _join(self, rollout: Rollout, now_ms: int) -> None:
        """Devices enrolled since; looked up now and then, as the whole fleet is read for it."""
        due_ms = self._joined_ms.get(rollout.plan.id, 0) + JOIN_EVERY_MS
        if rollout.state in OPEN and now_ms >= due_ms:
            self._joined_ms[rollout.plan.id] = now_ms
            rollout.join(self._candidates(rollout.plan.product), now_ms)

    def _carry_out(self, rollout: Rollout, now_ms: int) -> None:
        actions = rollout.pending()
        with self._registry.transaction():
            for action in actions:
                self._record(rollout, action, now_ms)
            self._save(rollout)
        rollout.settle()
        for action in actions:
            if action.device:
                self._ask_to_check(action.device)

    def _record(self, rollout: Rollout, action: Action, now_ms: int) -> None:
        if action.device:
            self._heads.point(action.device, action.release, now_ms)
        else:
            self._audit("engine", "rollout-note", rollout.plan.id, {"text": action.text})

    def _save(self, rollout: Rollout) -> None:
        plan = rollout.plan
        changed = {name: rollout.members[name] for name in rollout.unsaved}
        self._registry.rollouts.save(
            RolloutRow(
                plan.id,
                plan.product,
                plan.release,
                rollout.state,
                rollout.created_ms,
                rollout.to_json(),
            ),
            {name: (member.state, member.to_json()) for name, member in changed.items()},
        )

    def _candidates(self, product: str) -> list[Candidate]:
        return [_candidate(device) for device in self._registry.devices.all(product)]

    def _audit(
        self, actor: str, action: str, subject: str, detail: dict[str, Any] | None = None
    ) -> None:
        self._registry.audit.add(self._clock_ms(), actor, action, subject, detail)


def _candidate(device: Device) -> Candidate:
    return Candidate(
        device.id,
        device.board,
        device.state == "active",
        device.release,
        device.confirmed,
        device.epoch or 0,
        device.last_seen_ms or 0,
    )


def _count(states: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for state in states:
        counts[state] = counts.get(state, 0) + 1
    return counts
