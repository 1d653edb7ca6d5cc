"""Whether a stage is healthy, has to stop, or has to be undone: pure arithmetic on counts."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from outpost.fleet.rollout.plan import FAILURES, Member, Policy, State


@dataclass(frozen=True)
class Tally:
    """A stage's devices; skipped ones and those that had the release before do not count."""

    size: int = 0
    confirmed: int = 0
    failed: int = 0
    dark: int = 0

    @classmethod
    def of(cls, members: Iterable[Member]) -> "Tally":
        counted = [m for m in members if m.state is not State.SKIPPED and m.code != "already"]
        return cls(
            len(counted),
            sum(m.state is State.CONFIRMED for m in counted),
            sum(m.state in FAILURES for m in counted),
            sum(m.state is State.DARK for m in counted),
        )

    def plus(self, other: "Tally") -> "Tally":
        return Tally(
            self.size + other.size,
            self.confirmed + other.confirmed,
            self.failed + other.failed,
            self.dark + other.dark,
        )

    def without(self, other: "Tally") -> "Tally":
        return self.plus(Tally(-other.size, -other.confirmed, -other.failed, -other.dark))

    @property
    def failures(self) -> int:
        """Dark ones included."""
        return self.failed

    @property
    def ended(self) -> int:
        return self.confirmed + self.failed

    @property
    def open(self) -> int:
        return self.size - self.ended

    @property
    def failure_rate(self) -> float:
        return self.failed / self.ended if self.ended else 0.0


@dataclass(frozen=True)
class Verdict:
    """Reasons, empty when there is none; `healthy` opens the next stage after the soak."""

    abort: str = ""
    pause: str = ""
    healthy: bool = False


def judge(policy: Policy, tally: Tally, canary: bool, pardoned: int) -> Verdict:
    if tally.failures <= pardoned:
        # Nothing new since an operator said go on: wait for the rest, not for a better rate.
        return Verdict(healthy=_healthy(policy, tally) or (pardoned > 0 and not tally.open))
    abort = _abort(policy, tally, canary)
    if abort:
        return Verdict(abort=abort)
    pause = _pause(policy, tally, canary)
    return Verdict(pause=pause, healthy=not pause and _healthy(policy, tally))


def _healthy(policy: Policy, tally: Tally) -> bool:
    return tally.confirmed >= policy.success_rate * tally.size


def _abort(policy: Policy, tally: Tally, canary: bool) -> str:
    if canary and 0 < policy.canary_abort_dark <= tally.dark:
        return f"{tally.dark} canary dark"
    if tally.failure_rate >= policy.abort_rate and _meaningful(policy, tally):
        small = tally.size <= policy.min_ended
        if small or chance(tally.failures, tally.ended, policy.pause_rate) < policy.abort_doubt:
            return f"{tally.failures} of {tally.ended} failed"
    return ""


def _pause(policy: Policy, tally: Tally, canary: bool) -> str:
    if canary and 0 < policy.canary_pause_failures <= tally.failures:
        return f"{tally.failures} canaries failed"
    if tally.failure_rate >= policy.pause_rate and _meaningful(policy, tally):
        return f"{tally.failures} of {tally.ended} failed"
    if not tally.open and not _healthy(policy, tally):
        return f"only {tally.confirmed} of {tally.size} healthy"
    return ""


def _meaningful(policy: Policy, tally: Tally) -> bool:
    """Rates of a handful say nothing, unless the handful is the whole stage."""
    if tally.size <= policy.min_ended:
        return tally.failures > 0 and not tally.open
    return tally.ended >= policy.min_ended and tally.failures >= policy.min_failures


def chance(failures: int, ended: int, rate: float) -> float:
    """Of so many failures or more among `ended`, if each failed with probability `rate`."""
    if not 0 < rate < 1:
        return float(rate >= 1 or not failures)
    ways = math.lgamma(ended + 1)
    fewer = sum(
        math.exp(
            ways
            - math.lgamma(count + 1)
            - math.lgamma(ended - count + 1)
            + count * math.log(rate)
            + (ended - count) * math.log1p(-rate)
        )
        for count in range(failures)
    )
    return max(0.0, 1.0 - fewer)
