"""One rollout as a machine without clock, network or storage.

    observe(observation)     something a device said, or that it was heard at all
    tick(now_ms)             time passed; returns when it wants to be called again at the latest
    pending()                what is to be done now: offers, take-backs, notes
    unsaved                  devices whose record changed; settle() when both are on disk

Theory: success is a device's own report of running the release confirmed; everything else that
ends is a failure, silence included.  A stage opens when the one before has `success_rate` of its
devices confirmed and has soaked.  Gates are checked at every step: `pause` stops offering, `abort`
also points every device that was offered the release back at what it ran before.
Which of two events came first is never trusted: a late or repeated report can only add knowledge.
"""

from collections.abc import Iterable
from typing import Any

from outpost.errors import ExitCode, OutpostError
from outpost.fleet.observation import Observation
from outpost.fleet.rollout.gates import Tally, judge
from outpost.fleet.rollout.plan import (
    ACTIVE,
    COMMITTED,
    ENDED,
    OPEN,
    Action,
    Candidate,
    Member,
    Plan,
    RolloutState,
    State,
)
from outpost.fleet.rollout.roster import Roster

_NOTHING_DUE_MS = 60_000
_OFFER_EVERY_MS = 1_000
_MAX_BURST_S = 10
_PROGRESS = {state.value: state for state in ACTIVE}


class Rollout:
    def __init__(self, plan: Plan, now_ms: int) -> None:
        self.plan = plan
        self.state = RolloutState.RUNNING
        self.reason = ""
        self.stage = 0
        self.created_ms = now_ms
        self.healthy_since_ms: int | None = None
        self.pardoned = 0  # failures of this stage that an operator has looked at
        self._roster = Roster(plan.policy)
        self._talking: set[str] = set()
        self._tokens = 1.0
        self._tokens_ms = now_ms
        self._actions: list[Action] = []

    @property
    def members(self) -> dict[str, Member]:
        return self._roster.members

    # --- who takes part

    def join(self, candidates: Iterable[Candidate], now_ms: int) -> None:
        """Add devices; of those who are in already, the ones retired since leave."""
        for candidate in candidates:
            known = self.members.get(candidate.id)
            if known is not None:
                if not candidate.active and known.state not in ENDED:
                    self._move(candidate.id, State.SKIPPED, "not-active", now_ms)
                continue
            stage = self.plan.stage_of(candidate.id)
            if stage is not None:
                self._roster.add(candidate.id, self._member(candidate, stage, now_ms))

    def _member(self, candidate: Candidate, stage: int, now_ms: int) -> Member:
        state, code = State.PENDING, ""
        if not candidate.active:
            state, code = State.SKIPPED, "not-active"
        elif candidate.board not in self.plan.boards:
            state, code = State.SKIPPED, "board"
        elif candidate.release == self.plan.release and candidate.confirmed:
            state, code = State.CONFIRMED, "already"
        elif candidate.epoch > self.plan.epoch:
            # The device's floor is at its confirmed epoch: it would refuse.
            state, code = State.SKIPPED, "epoch"
        return Member(
            state,
            stage,
            now_ms,
            code,
            candidate.release,
            candidate.epoch,
            candidate.release,
            candidate.seen_ms,
        )

    # --- operators

    def pause(self, reason: str) -> None:
        if self.state is not RolloutState.RUNNING:
            raise self._misplaced("paused")
        self._enter(RolloutState.PAUSED, reason)

    def resume(self) -> None:
        """Go on in spite of the failures so far; new ones count again."""
        if self.state is not RolloutState.PAUSED:
            raise self._misplaced("resumed")
        self.pardoned = self.tally().failures
        self._enter(RolloutState.RUNNING, "")

    def abort(self, reason: str) -> None:
        """Stop, and take back every device that was offered the release."""
        if self.state not in OPEN:
            raise self._misplaced("aborted")
        self._enter(RolloutState.ABORTED, reason)
        for device_id in self.members:
            self._withdraw(device_id)

    def _misplaced(self, verb: str) -> OutpostError:
        return OutpostError(
            "rollout-state",
            f"a rollout that is {self.state} cannot be {verb}",
            "see `outpost rollout status`",
            ExitCode.ALREADY_DONE,
        )

    def _enter(self, state: RolloutState, reason: str) -> None:
        self.state, self.reason = state, reason
        self._actions.append(Action("note", text=f"{state}: {reason}" if reason else str(state)))

    def _withdraw(self, device_id: str) -> None:
        member = self.members[device_id]
        if member.offers:
            self._take_back(device_id, member)
        if member.state not in ENDED and member.state not in COMMITTED:
            self._move(device_id, State.SKIPPED, "aborted")

    def _take_back(self, device_id: str, member: Member) -> None:
        self._roster.unsaved.add(device_id)
        if member.previous is None:
            member.back = "unknown"
        elif member.state is State.CONFIRMED and self.plan.epoch > member.previous_epoch:
            member.back = "epoch"
        else:
            member.back = "done" if self._untouched(member) else "offered"
            self._actions.append(Action("take_back", device_id, member.previous))

    def _untouched(self, member: Member) -> bool:
        """It runs what it ran before, and nothing is on its way to change that."""
        return member.running == member.previous and member.state not in (
            *COMMITTED,
            State.CONFIRMED,
        )

    # --- what devices say

    def observe(self, observation: Observation) -> None:
        member = self.members.get(observation.device)
        if member is None:
            return
        if observation.kind not in ("state-retained", "csr"):
            member.heard_ms = max(member.heard_ms, observation.at_ms)
            self._talking.add(observation.device)
        handler = getattr(self, "_on_" + observation.kind.replace("-", "_"), None)
        if handler:
            handler(observation, member)

    def _on_state(self, observation: Observation, member: Member) -> None:
        release = observation.body.get("release")
        member.running = release if isinstance(release, str) else None
        if member.running == self.plan.release:
            self._on_trial_or_confirmed(observation, member)
        elif (
            member.state is State.CONFIRMED
            or member.state is State.REBOOTING
            or (member.evidence and member.state in ACTIVE)
        ):
            self._returned(observation, member)
        elif member.back == "offered" and member.running == member.previous:
            member.back = "done"
            self._roster.unsaved.add(observation.device)

    def _on_trial_or_confirmed(self, observation: Observation, member: Member) -> None:
        if observation.body.get("confirmed") is True:
            self._confirm(observation, member)
        elif member.offers and member.state not in (State.CONFIRMED, State.ROLLED_BACK):
            self._move(observation.device, State.REBOOTING, "", observation.at_ms)

    def _on_state_retained(self, observation: Observation, member: Member) -> None:
        """Of unknown age: it can prove that the release was confirmed, not that it was left."""
        if (
            observation.body.get("release") == self.plan.release
            and observation.body.get("confirmed") is True
            and member.state in (*ACTIVE, State.PENDING, State.DARK)
        ):
            self._confirm(observation, member)

    def _confirm(self, observation: Observation, member: Member) -> None:
        if member.state is not State.CONFIRMED:
            self._move(
                observation.device,
                State.CONFIRMED,
                "" if member.offers else "already",
                observation.at_ms,
            )
            if self.state is RolloutState.ABORTED and member.back != "epoch":
                self._take_back(observation.device, member)

    def _returned(self, observation: Observation, member: Member) -> None:
        if not member.offers:  # somebody else put the release there and took it away
            state = State.PENDING if self.state in OPEN else State.SKIPPED
            self._move(observation.device, state, "", observation.at_ms)
            return
        back = member.back == "offered" and member.running == member.previous
        if back:
            member.back = "done"
        code = "taken-back" if back and member.state is State.CONFIRMED else member.code
        self._move(observation.device, State.ROLLED_BACK, code or "returned", observation.at_ms)

    def _on_update(self, observation: Observation, member: Member) -> None:
        step, release = observation.body.get("s"), observation.body.get("release")
        # A device tries again by itself: one that waits for an offer, or was given up, may speak.
        listening = member.state in (*ACTIVE, State.DARK) or (
            member.state is State.PENDING and member.offers
        )
        if release not in (None, self.plan.release) or not listening:
            return
        member.progress_ms = observation.at_ms
        code = str(observation.body.get("code") or "")[:64]
        if step == "confirmed" and release == self.plan.release:
            self._confirm(observation, member)
        elif step == "refused":
            self._move(observation.device, State.FAILED, code or "refused", observation.at_ms)
        elif step == "failed":
            self._retry(observation.device, code or "failed", observation.at_ms)
        elif step in _PROGRESS and release == self.plan.release:
            state = _PROGRESS[str(step)]
            if member.state not in ACTIVE or ACTIVE.index(state) > ACTIVE.index(member.state):
                self._move(observation.device, state, "", observation.at_ms)

    def _on_evidence(self, observation: Observation, member: Member) -> None:
        """A try failed.  Only what the device runs now tells whether it was the last one."""
        if observation.body.get("digest") != self.plan.release or member.state not in (
            *ACTIVE,
            State.ROLLED_BACK,
        ):
            return
        member.evidence = True
        member.code = str(observation.body.get("cause") or "evidence")[:64]
        self._roster.unsaved.add(observation.device)
        if member.state in ACTIVE and member.running not in (None, self.plan.release):
            self._move(observation.device, State.ROLLED_BACK, member.code, observation.at_ms)

    def _retry(self, device_id: str, code: str, now_ms: int) -> None:
        """The device keeps what it fetched; another offer makes it go on, after a pause."""
        member = self.members[device_id]
        if member.offers > self.plan.policy.retries or self.state not in OPEN:
            self._move(device_id, State.FAILED, code, now_ms)
            return
        pause_s = self.plan.policy.retry_delay_s * 4 ** (member.offers - 1)
        member.retry_ms = now_ms + pause_s * 1000
        self._move(device_id, State.PENDING, code, now_ms)

    def _move(self, device_id: str, state: State, code: str, at_ms: int | None = None) -> None:
        self._roster.move(device_id, state, code, self._tokens_ms if at_ms is None else at_ms)

    # --- time

    def tick(self, now_ms: int) -> int:
        self._expire(now_ms)
        if self.state in OPEN:
            self._judge(now_ms)
        if self.state is RolloutState.RUNNING:
            self._offer(now_ms)
        self._tokens_ms = now_ms
        return self._next_deadline(now_ms)

    def _expire(self, now_ms: int) -> None:
        talking, self._talking = self._talking, set()
        for device_id in talking:
            member = self.members[device_id]
            if member.state in ACTIVE and self._stuck(member):
                self._retry(device_id, f"timeout-{member.state}", now_ms)
        for device_id in self._roster.silent(now_ms):
            self._move(device_id, State.DARK, f"silent-{self.members[device_id].state}", now_ms)

    def _stuck(self, member: Member) -> bool:
        """It still talks, and has got nowhere."""
        return member.heard_ms - member.progress_ms >= self.plan.policy.step_timeout_s * 1000

    def _judge(self, now_ms: int) -> None:
        tally = self.tally()
        verdict = judge(self.plan.policy, tally, canary=self.stage == 0, pardoned=self.pardoned)
        if verdict.abort:
            self.abort(verdict.abort)
        elif verdict.pause and self.state is RolloutState.RUNNING:
            self.pause(verdict.pause)
        elif self.state is RolloutState.RUNNING:
            self._advance(tally, verdict.healthy, now_ms)

    def _advance(self, tally: Tally, healthy: bool, now_ms: int) -> None:
        last = self.stage == len(self.plan.stages) - 1
        if not healthy or (last and tally.open):
            self.healthy_since_ms = None
            return
        if self.healthy_since_ms is None:
            self.healthy_since_ms = now_ms
        soak_ms = self.plan.policy.soak_s * 1000 if tally.ended else 0
        if now_ms < self.healthy_since_ms + soak_ms:
            return
        if last:
            self._enter(RolloutState.COMPLETED, "")
            return
        self.stage, self.healthy_since_ms, self.pardoned = self.stage + 1, None, 0
        name = self.plan.stages[self.stage].name
        self._actions.append(Action("note", text=f"stage {self.stage + 1}: {name}"))
        self._judge(now_ms)

    def _offer(self, now_ms: int) -> None:
        """A token bucket: a whole stage never asks for the same blobs in the same second."""
        rate_ms = self.plan.policy.offers_per_minute / 60_000
        self._tokens = min(
            self._tokens + (now_ms - self._tokens_ms) * rate_ms,
            max(1.0, rate_ms * _MAX_BURST_S * 1000),
        )
        if self._tokens < 1.0:
            return
        for device_id, member in self._roster.pending(self.stage):
            if member.retry_ms <= now_ms:
                self._tokens -= 1.0
                member.offers += 1
                member.heard_ms = now_ms
                self._move(device_id, State.OFFERED, "", now_ms)
                self._actions.append(Action("offer", device_id, self.plan.release))
            if self._tokens < 1.0:
                return

    def _next_deadline(self, now_ms: int) -> int:
        deadline = min(now_ms + _NOTHING_DUE_MS, self._roster.next_dark_ms)
        if self.state is RolloutState.RUNNING:
            retry_ms = self._roster.first_retry_ms(self.stage, now_ms)
            deadline = min(deadline, max(retry_ms, now_ms + _OFFER_EVERY_MS))
        if self.healthy_since_ms is not None:
            deadline = min(deadline, self.healthy_since_ms + self.plan.policy.soak_s * 1000)
        return max(deadline, now_ms + 1)

    # --- reading it out

    def tally(self, stage: int | None = None) -> Tally:
        return self._roster.tally(self.stage if stage is None else stage)

    def pending(self) -> list[Action]:
        """What is to be done, in order; stays until `settle`: a failed step is repeated."""
        return list(self._actions)

    @property
    def unsaved(self) -> set[str]:
        return self._roster.unsaved

    def settle(self) -> None:
        """The pending actions and the changed records have been stored."""
        self._actions = []
        self._roster.unsaved = set()

    def to_json(self) -> dict[str, Any]:
        return {
            "plan": self.plan.to_json(),
            "state": self.state,
            "reason": self.reason,
            "stage": self.stage,
            "created_ms": self.created_ms,
            "pardoned": self.pardoned,
            "healthy_since_ms": self.healthy_since_ms,
        }

    @classmethod
    def from_json(
        cls, document: dict[str, Any], members: dict[str, dict[str, Any]], now_ms: int
    ) -> "Rollout":
        """As stored; a device that was being waited for gets its full time again, as the silence
        may have been ours."""
        rollout = cls(Plan.from_json(document["plan"]), document["created_ms"])
        rollout.state = RolloutState(document["state"])
        for key in ("reason", "stage", "pardoned", "healthy_since_ms"):
            setattr(rollout, key, document[key])
        for name, entry in members.items():
            member = Member.from_json(entry)
            if member.state in ACTIVE:
                member.heard_ms = max(member.heard_ms, now_ms)
            rollout._roster.add(name, member)
        rollout._roster.unsaved = set()
        rollout._tokens_ms = now_ms
        return rollout
