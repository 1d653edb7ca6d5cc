"""What happens between two boots: causes, clocks, what is kept and what is lost.

No processes here.  `BootLedger` is the power supply's bookkeeping over the shared state: it
prepares each boot as the chip would find itself after that kind of reset, and closes the books of
the boot that ended.
"""

from __future__ import annotations

import signal
import time

from outpost.boards import Board
from outpost.sim.chip import layout
from outpost.sim.meter import Meter
from outpost.sim.state import BoardState

# What the runner calls the end of a boot, by the exit status of its process.
ENDINGS = {
    layout.EXIT_RESET: "reset",
    layout.EXIT_DEEPSLEEP: "deepsleep",
    layout.EXIT_SOFT_RESET: "soft",
    layout.EXIT_POWER_CUT: "power_cut",
    layout.EXIT_WATCHDOG: "watchdog",
    layout.EXIT_BROWNOUT: "brownout",
    layout.EXIT_BOOTLOADER: "bootloader",
    layout.EXIT_PANIC: "panic",
}
_TIMER_WAKE, _PIN_WAKE = 4, 2
_MODELLED = 2
_FORCED, _TIMED_OUT = 2, 1  # rp2 WATCHDOG.REASON


def ending(wait_status: int) -> str:
    """What a wait status means; "killed" is our own doing, "panic" a crash of the VM."""
    number = wait_status & 0x7F
    if number == signal.SIGALRM:
        return "watchdog"
    if number == signal.SIGKILL:
        return "killed"
    if number:
        return "panic"
    return ENDINGS.get(wait_status >> 8, "panic")


class BootLedger:
    """`open(kind)` before a boot, `close()` after it."""

    def __init__(self, board: Board, state: BoardState, meter: Meter) -> None:
        self._board = board
        self._state = state
        self._meter = meter
        if not state.wide("boot_world_ms"):
            state.set_wide("boot_world_ms", int(time.time() * 1000))
        self._mono = time.monotonic()
        self._rtc_ms = 0
        self._running = False

    def now_ms(self) -> int:
        """Virtual time since this boot."""
        if not self._running:
            return 0
        if self._state["fast"] == _MODELLED:  # the host's speed is nothing to the board
            return self._state["skip_ms"]
        return int((time.monotonic() - self._mono) * 1000) + self._state["skip_ms"]

    def world_ms(self) -> int:
        return self._state.wide("boot_world_ms") + self.now_ms()

    def open(self, kind: str) -> None:
        """Prepare the boot after a reset of `kind` (a key of the chip's [reset_cause])."""
        state, chip = self._state, self._board.chip
        cause = getattr(chip.reset_cause, kind)
        state["reset_cause"] = cause or state["reset_cause"]
        timed = state.wide("sleep_ms") >= 0
        state["wake_reason"] = 0
        if kind == "deepsleep" and chip.port == "esp32":
            state["wake_reason"] = _TIMER_WAKE if timed else _PIN_WAKE
        state["wake_pin"] = 0
        if kind != "soft":
            state["skip_main"] = 0
        self._clocks(kind)
        self._memory(kind)
        state["wdt_ms"] = state["skip_ms"] = state["sync_ms"] = 0
        state["stage"] = layout.STAGE_OFF
        state["repl_reading"] = 1  # a Ctrl-C during the boot waits in the input
        self._mono = time.monotonic()
        self._running = True

    def _clocks(self, kind: str) -> None:
        chip = self._board.chip
        cold = 0
        if kind != "soft":
            cold = chip.boot.deepsleep_wake_ms if kind == "deepsleep" else chip.boot.rom_ms
        self.pass_time("active", cold)
        if kind in chip.clock.lost_by:
            self._rtc_ms = int(chip.clock.power_on.timestamp() * 1000)
        self._state.set_wide("rtc_boot_ms", self._rtc_ms)
        self._state.set_wide("rtc_set_ms", 0)

    def _memory(self, kind: str) -> None:
        state = self._state
        if kind in ("power_on", "brownout"):
            state.clear(layout.SCRATCH_AT, 32)
            state.clear(layout.RTC_MEMORY_AT, layout.RTC_MEMORY_BYTES)
            state["rtc_len"] = state["chip_wdt_reason"] = 0
            state["ota_flags"] = 0
        elif kind != "soft":
            state["chip_wdt_reason"] = _TIMED_OUT if kind == "watchdog" else _FORCED
        for pin in range(layout.PINS):  # outputs float after a reset; inputs are the world's
            state.clear(layout.PIN_AT + layout.PIN_BYTES * pin, 2)

    def close(self, exact: bool) -> None:
        """The boot is over; `exact` when the chip itself closed its counters."""
        state = self._state
        now = state["cpu_since_ms"] if exact else self.now_ms()
        self._meter.fold(state, now)
        elapsed = now + now * state["drift_ppm"] // 1_000_000
        self._rtc_ms = state.wide("rtc_boot_ms") + state.wide("rtc_set_ms") + elapsed
        state.set_wide("boot_world_ms", state.wide("boot_world_ms") + now)
        self._running = False

    def pass_time(self, cpu_state: str, ms: int) -> None:
        """Time in which no program runs: asleep, off, or in the ROM."""
        state = self._state
        self._meter.add_cpu(cpu_state, ms)
        state.set_wide("boot_world_ms", state.wide("boot_world_ms") + ms)
        drift = self._board.chip.clock.deepsleep_drift_ppm if cpu_state == "deep_sleep" else 0
        self._rtc_ms += ms + ms * (drift + state["drift_ppm"]) // 1_000_000
