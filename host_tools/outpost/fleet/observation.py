"""What ingest saw that a rollout, or certificate rotation, may care about."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Observation:
    """kind: seen, state, state-retained (of unknown age), update, evidence, boot, csr, reply (the
    first to a command of ours).

    `body` is the device's own map.
    """

    device: str
    kind: str
    at_ms: int
    body: dict[str, Any] = field(default_factory=dict)
