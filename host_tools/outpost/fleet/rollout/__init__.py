"""Staged rollouts: the plan, the gates and the engine; `outpost.fleet.dispatch` connects them."""

from outpost.fleet.rollout.engine import Rollout
from outpost.fleet.rollout.gates import Tally
from outpost.fleet.rollout.plan import (
    DEFAULT_STAGES,
    Action,
    Candidate,
    Member,
    Plan,
    Policy,
    RolloutState,
    Stage,
    State,
)

__all__ = [
    "DEFAULT_STAGES",
    "Action",
    "Candidate",
    "Member",
    "Plan",
    "Policy",
    "Rollout",
    "RolloutState",
    "Stage",
    "State",
    "Tally",
]
