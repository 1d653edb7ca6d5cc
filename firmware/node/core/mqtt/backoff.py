"""When to try again: exponential backoff with full jitter.

A fleet loses its broker at one instant; without jitter it comes back at one instant, for ever.
Each pause is drawn evenly from 0 to the current ceiling, which doubles up to a cap. Only a
connection that lasted resets the ceiling: a broker that accepts and then kicks is as down as one
that refuses.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable


class Backoff:
    """`below(n)` gives a random integer in range(n)."""

    def __init__(
        self, below: "Callable[[int], int]", base_ms: int, cap_ms: int, stable_ms: int
    ) -> None:
        self._below = below
        self._base_ms = base_ms
        self._cap_ms = cap_ms
        self._stable_ms = stable_ms
        self._ceiling_ms = base_ms

    def lasted(self, ms: int) -> None:
        """A connection stood for `ms` before it fell."""
        if ms >= self._stable_ms:
            self._ceiling_ms = self._base_ms

    def next_ms(self) -> int:
        pause_ms = self._below(self._ceiling_ms + 1)
        self._ceiling_ms = min(self._cap_ms, self._ceiling_ms * 2)
        return pause_ms
