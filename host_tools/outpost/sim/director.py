"""Plays a scenario on a board: sets the world at each boot and at each change in between.

Runs in the board's bench thread.  The chip stops at `sync_ms` after its boot and waits for the
next one, so even in fast time a value changes at its virtual second and not some jumps later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpost.sim.scenario import Happening, Scenario

if TYPE_CHECKING:
    from outpost.sim.board import SimBoard

_NEVER = 0


class Director:
    """`begin()` once, then `boot()` before each boot and `sync()` when the chip asks."""

    def __init__(self, board: SimBoard, scenario: Scenario) -> None:
        self._board = board
        self._scenario = scenario
        self._start_ms = board.state.wide("boot_world_ms")
        self._last_s = -1
        board.state["drift_ppm"] = scenario.drift_ppm
        self.over = False

    def boot(self) -> list[Happening]:
        """The chip is about to boot: its clock stands at the boot's own world time."""
        due = self._apply(self._board.state.wide("boot_world_ms"))
        self._arm(self._board.state.wide("boot_world_ms"))
        return due

    def sync(self, now_ms: int) -> list[Happening]:
        """The chip has come to a change, `now_ms` after its boot; -> what must happen to it."""
        world_ms = self._board.state.wide("boot_world_ms") + now_ms
        due = self._apply(world_ms)
        self._arm(world_ms)
        return due

    def sleep(self, asked_ms: int) -> tuple[int, list[Happening]]:
        """The chip sleeps: -> for how long until something happens to it, and what."""
        begin_ms = self._board.state.wide("boot_world_ms") - self._start_ms
        due = self._scenario.due(self._last_s, (begin_ms + asked_ms) // 1000)
        if not due:
            return asked_ms, []
        first_s = due[0].at_s
        return max(0, first_s * 1000 - begin_ms), [e for e in due if e.at_s == first_s]

    def _apply(self, world_ms: int) -> list[Happening]:
        at_s = (world_ms - self._start_ms) // 1000
        drawn = self._board.meter.total_mah
        for name, value in self._scenario.values(at_s, drawn).items():
            self._board.world[name] = value
        due = self._scenario.due(self._last_s, at_s)
        self._last_s = at_s
        self.over = at_s >= self._scenario.end_s
        return due

    def _arm(self, world_ms: int) -> None:
        state = self._board.state
        next_s = self._scenario.next_change((world_ms - self._start_ms) // 1000)
        due = self._start_ms + next_s * 1000 - state.wide("boot_world_ms")
        # Longer than the word can tell: the chip is rebooted or asked before that.
        state["sync_ms"] = min(due, 0x3FFFFFFF) if not self.over else _NEVER
