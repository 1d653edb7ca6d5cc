"""The health contract: what a release must show before it is confirmed.

Pure. The contract travels in the release itself (`health` of its manifest), so that a release
says for itself what healthy means: the link is up, N publishes were acknowledged by the broker,
the heap keeps a floor, all within a deadline that runs from the start of the application.
"""

from micropython import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WAITING = const(0)
HEALTHY = const(1)
FAILED = const(2)

_DEADLINE_S = const(300)
_DEADLINE_MIN_S = const(5)
_DEADLINE_MAX_S = const(86400)


class HealthContract:
    """`terms` is the manifest's map: connected (bool), publishes, heap_floor (B), deadline_s."""

    def __init__(self, terms: "dict[str, Any]") -> None:
        self.connected: bool = terms.get("connected", True) is not False
        self.publishes = _bounded(terms.get("publishes"), 1, 0, 1000)
        self.heap_floor = _bounded(terms.get("heap_floor"), 0, 0, 1 << 24)
        self.deadline_ms = 1000 * _bounded(
            terms.get("deadline_s"), _DEADLINE_S, _DEADLINE_MIN_S, _DEADLINE_MAX_S
        )
        self.why = ""

    def judge(self, connected: bool, acked: int, heap_free: int, up_ms: int) -> int:
        """WAITING, HEALTHY or FAILED; `why` then names the first term that is not met."""
        self.why = self._missing(connected, acked, heap_free)
        if not self.why:
            return HEALTHY
        return FAILED if up_ms >= self.deadline_ms else WAITING

    def _missing(self, connected: bool, acked: int, heap_free: int) -> str:
        if self.connected and not connected:
            return "not connected"
        if acked < self.publishes:
            return "%d of %d publishes acknowledged" % (acked, self.publishes)
        if heap_free < self.heap_floor:
            return "heap %d below its floor %d" % (heap_free, self.heap_floor)
        return ""


def _bounded(value: object, default: int, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        return default
    return max(low, min(high, value))
