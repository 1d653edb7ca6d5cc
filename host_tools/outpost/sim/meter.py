"""The current meter between the supply and the board: microampere-milliseconds by state.

The chip writes how long it was in each state of this boot; `fold` turns that into charge at the
end of a boot.  CPU states exclude each other; radio states, transmit and receive times and sensor
rails come on top.  A skipped sleep is charged exactly, because nothing was measured.
"""

from __future__ import annotations

from collections import Counter

from outpost.boards import Chip
from outpost.sim.chip import layout
from outpost.sim.state import BoardState

_UAMS_PER_MAH = 3_600_000_000


class Meter:
    """`time_ms` and `charge_uams` by state name since the board was made."""

    def __init__(self, chip: Chip, rails_ua: tuple[int, ...] = ()) -> None:
        current = chip.current_ua
        self._clocks_mhz = chip.freq.allowed_mhz
        self._clocks_ua = [chip.active_ua(mhz) for mhz in self._clocks_mhz]
        self._cpu_ua = {
            "active": current.active,
            "active_slow": 0,  # by clock
            "light_sleep": current.light_sleep,
            "deep_sleep": current.deep_sleep,
            "off": 0,
        }
        self._radio_ua = {
            "off": 0,
            "idle": current.radio_idle,
            "connecting": current.radio_connecting,
            "on": current.radio_on,
        }
        self._tx_ua = current.radio_tx
        self._rx_ua = current.radio_rx
        self._rails_ua = rails_ua
        self.time_ms: Counter[str] = Counter()
        self.charge_uams: Counter[str] = Counter()

    @property
    def total_mah(self) -> float:
        return sum(self.charge_uams.values()) / _UAMS_PER_MAH

    @property
    def elapsed_ms(self) -> int:
        return sum(self.time_ms[state] for state in layout.CPU_STATES)

    @property
    def average_ua(self) -> float:
        return sum(self.charge_uams.values()) / self.elapsed_ms if self.elapsed_ms else 0.0

    def add_cpu(self, state: str, ms: int) -> None:
        self._add(state, ms, self._cpu_ua[state])

    def fold(self, state: BoardState, now_ms: int) -> None:
        """Charge the boot that ended `now_ms` after it began, and clear its counters."""
        cpu = state.row(layout.CPU_MS_AT, len(layout.CPU_STATES))
        cpu[state["cpu_state"]] += max(0, now_ms - state["cpu_since_ms"])
        for name, ms in zip(layout.CPU_STATES, cpu, strict=True):
            self.add_cpu(name, ms)
        self._fold_clocks(state, now_ms)
        radio = state.row(layout.RADIO_MS_AT, len(layout.RADIO_STATES))
        radio[state["radio_state"]] += max(0, now_ms - state["radio_since_ms"])
        for name, ms in zip(layout.RADIO_STATES, radio, strict=True):
            self._add(f"radio_{name}", ms, self._radio_ua[name])
        self._fold_air(state)
        self._fold_rails(state, now_ms)
        state.clear(layout.CPU_MS_AT, layout.SCRATCH_AT - layout.CPU_MS_AT)
        state.clear(layout.CLOCK_MS_AT, 4 * layout.CLOCKS)
        for name in ("cpu_since_ms", "radio_since_ms", "rails_since_ms"):
            state[name] = now_ms

    def _fold_clocks(self, state: BoardState, now_ms: int) -> None:
        """The charge of "active_slow": what each clock below the default one costs."""
        rows = state.row(layout.CLOCK_MS_AT, len(self._clocks_mhz))
        if state["cpu_state"] == layout.CPU_SLOW:
            running = self._clocks_mhz.index(state["freq_mhz"])
            rows[running] += max(0, now_ms - state["cpu_since_ms"])
        for ms, microamperes in zip(rows, self._clocks_ua, strict=True):
            if ms:
                self.charge_uams["active_slow"] += ms * microamperes

    def _fold_air(self, state: BoardState) -> None:
        for name, microamperes in (("tx", self._tx_ua), ("rx", self._rx_ua)):
            us = state[f"{name}_us"]
            self.time_ms[f"radio_{name}"] += us // 1000
            self.charge_uams[f"radio_{name}"] += us * microamperes // 1000
            state[f"{name}_us"] = 0

    def _fold_rails(self, state: BoardState, now_ms: int) -> None:
        rows = state.row(layout.RAIL_MS_AT, layout.RAILS)
        for index, microamperes in enumerate(self._rails_ua):
            ms = rows[index]
            if state["rails_on"] >> index & 1:
                ms += max(0, now_ms - state["rails_since_ms"])
            self._add(f"rail_{index}", ms, microamperes)

    def _add(self, name: str, ms: int, microamperes: int) -> None:
        if ms:
            self.time_ms[name] += ms
            self.charge_uams[name] += ms * microamperes
