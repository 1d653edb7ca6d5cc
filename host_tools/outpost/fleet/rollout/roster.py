"""The devices of a rollout, indexed by what the engine asks of them at every step.

Invariant: a member's state changes through `move` only, which keeps the indexes; so a step costs
what has changed, not the size of the fleet.
"""

from collections.abc import Iterator

from outpost.fleet.rollout.gates import Tally
from outpost.fleet.rollout.plan import ACTIVE, COMMITTED, Member, Policy, State

NEVER_MS = 2**62
_NOBODY = Tally()


class Roster:
    def __init__(self, policy: Policy) -> None:
        self.members: dict[str, Member] = {}
        self.unsaved: set[str] = set()
        self._policy = policy
        # Dicts, as sets without order: offers go out in the order devices joined.
        self._active: dict[str, None] = {}
        self._pending: dict[int, dict[str, None]] = {}
        self._tallies: dict[int, Tally] = {}
        self._next_dark_ms = NEVER_MS

    def add(self, device_id: str, member: Member) -> None:
        self.members[device_id] = member
        self._index(device_id, member)

    def move(self, device_id: str, state: State, code: str, at_ms: int) -> None:
        member = self.members[device_id]
        self._tallies[member.stage] = self.tally(member.stage).without(Tally.of([member]))
        self._active.pop(device_id, None)
        self._pending.get(member.stage, {}).pop(device_id, None)
        member.state, member.code, member.since_ms = state, code, at_ms
        member.progress_ms = max(member.progress_ms, at_ms)
        self._index(device_id, member)

    def _index(self, device_id: str, member: Member) -> None:
        self.unsaved.add(device_id)
        self._tallies[member.stage] = self.tally(member.stage).plus(Tally.of([member]))
        if member.state in ACTIVE:
            self._active[device_id] = None
            self._next_dark_ms = min(self._next_dark_ms, self.dark_ms(member))
        elif member.state is State.PENDING:
            self._pending.setdefault(member.stage, {})[device_id] = None

    def tally(self, stage: int) -> Tally:
        return self._tallies.get(stage, _NOBODY)

    def pending(self, last_stage: int) -> Iterator[tuple[str, Member]]:
        """Those of the stages up to this one; the caller may move what it is given."""
        for stage in range(last_stage + 1):
            for device_id in list(self._pending.get(stage, ())):
                yield device_id, self.members[device_id]

    def first_retry_ms(self, last_stage: int, now_ms: int) -> int:
        """When the next offer may be due, no later than needed."""
        first = NEVER_MS
        for stage in range(last_stage + 1):
            for device_id in self._pending.get(stage, ()):
                first = min(first, self.members[device_id].retry_ms)
                if first <= now_ms:
                    return now_ms
        return first

    # --- silence

    def dark_ms(self, member: Member) -> int:
        """When silence becomes darkness: a device that installs has a reset to come back from."""
        committed = member.state in COMMITTED
        silence_s = self._policy.install_timeout_s if committed else self._policy.dark_after_s
        return max(member.heard_ms, member.progress_ms) + silence_s * 1000

    @property
    def next_dark_ms(self) -> int:
        """No device goes dark before this; being heard only moves it later."""
        return self._next_dark_ms

    def silent(self, now_ms: int) -> list[str]:
        if now_ms < self._next_dark_ms:
            return []
        due = {device_id: self.dark_ms(self.members[device_id]) for device_id in self._active}
        self._next_dark_ms = min((ms for ms in due.values() if ms > now_ms), default=NEVER_MS)
        return [device_id for device_id, ms in due.items() if ms <= now_ms]
