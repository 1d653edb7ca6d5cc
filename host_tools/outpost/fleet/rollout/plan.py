"""What a rollout is asked to do: states, stages, thresholds, candidates.  Plain data."""

import hashlib
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from outpost.errors import ExitCode, OutpostError


class State(StrEnum):
    """Where one device stands."""

    PENDING = "pending"  # not offered yet, or waiting for another try
    OFFERED = "offered"  # its head names the release
    DOWNLOADING = "downloading"
    VERIFIED = "verified"
    INSTALLING = "installing"
    REBOOTING = "rebooting"  # on trial, from the reset until the device confirms or gives up
    CONFIRMED = "confirmed"  # the device says: running it, healthy
    ROLLED_BACK = "rolled_back"  # it tried, and runs the release before again
    FAILED = "failed"  # it says why, or did not get further while still talking
    DARK = "dark"  # silence
    SKIPPED = "skipped"  # never asked; `code` says why


class RolloutState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"  # no new offers; what was offered goes on
    ABORTED = "aborted"  # and taken back
    COMPLETED = "completed"


# In the order a device passes through them.
ACTIVE = (State.OFFERED, State.DOWNLOADING, State.VERIFIED, State.INSTALLING, State.REBOOTING)
# A reset decides these; before them nothing on the device has changed.
COMMITTED = (State.INSTALLING, State.REBOOTING)
FAILURES = (State.FAILED, State.ROLLED_BACK, State.DARK)
ENDED = (State.CONFIRMED, State.SKIPPED, *FAILURES)
OPEN = (RolloutState.RUNNING, RolloutState.PAUSED)


@dataclass(frozen=True)
class Stage:
    """A list of devices by name, or a percentage of all (cumulative; 100 is everybody)."""

    name: str
    devices: tuple[str, ...] = ()
    percent: float = 0.0

    def has(self, rollout_id: str, device_id: str) -> bool:
        return device_id in self.devices or bucket(rollout_id, device_id) < self.percent * 100


def bucket(rollout_id: str, device_id: str) -> int:
    """0..9999, sticky: raising a percentage keeps who is in, and each rollout draws anew."""
    digest = hashlib.sha256(f"{rollout_id}/{device_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 10_000


@dataclass(frozen=True)
class Policy:
    """When to go on, when to stop. Rates are of the stage's devices that have reached an end."""

    success_rate: float = 0.95
    soak_s: int = 24 * 3600
    pause_rate: float = 0.03
    abort_rate: float = 0.10
    canary_pause_failures: int = 2
    canary_abort_dark: int = 1
    # Rates mean nothing on few: so many must have ended (all of it, in a stage no larger) …
    min_ended: int = 5
    # … and one failure alone, in a larger stage, is an accident.
    min_failures: int = 2
    # Taking a fleet back is drastic: only when chance would explain it less often than this, had
    # the release failed no more than `pause_rate`.  Until then the rollout is paused at least.
    abort_doubt: float = 0.01
    # Heard, but for so long without a next step: failed.
    step_timeout_s: int = 3600
    # Not heard for so long: dark.  Once installing it has a reset to come back from, no sleep.
    dark_after_s: int = 2 * 3600
    install_timeout_s: int = 3600
    retries: int = 2
    retry_delay_s: int = 300
    offers_per_minute: int = 60

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise OutpostError(
                    "policy",
                    f"{entry.name} cannot be {value!r}",
                    "give a number from 0 up",
                    ExitCode.USAGE,
                )
        if not (0 < self.success_rate <= 1 and self.offers_per_minute):
            raise OutpostError(
                "policy",
                "success_rate is a share of 1, offers one a minute or more",
                "correct the policy",
                ExitCode.USAGE,
            )


DEFAULT_STAGES = tuple(Stage(f"{percent} %", percent=percent) for percent in (1, 5, 25, 50, 100))


@dataclass(frozen=True)
class Plan:
    """One rollout as ordered; `devices` limits it to these, else all of the product take part."""

    id: str
    product: str
    release: str
    version: str
    epoch: int
    boards: tuple[str, ...]
    stages: tuple[Stage, ...]
    policy: Policy = field(default_factory=Policy)

    def __post_init__(self) -> None:
        if not self.stages or any(not s.devices and not 0 < s.percent <= 100 for s in self.stages):
            raise OutpostError(
                "stages",
                "every stage needs devices or a percentage up to 100",
                "for example: canary list, 10 %, 100 %",
                ExitCode.USAGE,
            )
        percents = [stage.percent for stage in self.stages if not stage.devices]
        if percents != sorted(percents):
            raise OutpostError(
                "stages",
                "percentages count up, they are cumulative",
                "sort the stages",
                ExitCode.USAGE,
            )

    def stage_of(self, device_id: str) -> int | None:
        for number, stage in enumerate(self.stages):
            if stage.has(self.id, device_id):
                return number
        return None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Plan":
        stages = tuple(
            Stage(s["name"], tuple(s["devices"]), s["percent"]) for s in document["stages"]
        )
        return cls(
            **{
                **document,
                "stages": stages,
                "boards": tuple(document["boards"]),
                "policy": Policy(**document["policy"]),
            }
        )


@dataclass(frozen=True)
class Candidate:
    """What the registry knows of a device when it joins."""

    id: str
    board: str
    active: bool = True
    release: str | None = None
    confirmed: bool = False
    epoch: int = 0
    seen_ms: int = 0


@dataclass
class Member:
    """One device in one rollout."""

    state: State
    stage: int
    since_ms: int
    code: str = ""
    previous: str | None = None  # release it ran when it joined: what it is taken back to
    previous_epoch: int = 0
    running: str | None = None  # as last reported by itself
    heard_ms: int = 0
    progress_ms: int = 0
    offers: int = 0
    retry_ms: int = 0
    evidence: bool = False
    back: str = ""  # "", offered, done, epoch (would be refused), unknown (no release before)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Member":
        return cls(**{**document, "state": State(document["state"])})


@dataclass(frozen=True)
class Action:
    """kind `offer`, `take_back`: point the device's head at `release`; `note`: tell people."""

    kind: str
    device: str = ""
    release: str = ""
    text: str = ""
