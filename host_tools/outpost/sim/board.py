"""SimBoard: a board on the bench.  Power it, watch it, break it.

    board = SimBoard("rpi_pico_w", "flash.img", on_line=print)
    board.start()
    board.wait_for("line:hello", timeout=10)
    board.stop()

`flash_path` is the raw littlefs of the board's own geometry and is changed in place, as flash is.
Beside it, `<flash_path>.chip/` keeps what else the chip remembers (shared state, NVS, OTA slots).

One thread per board owns its processes, its console and its REPL port; every method may be called
from any thread.  Events are tuples (world time in ms since 1970, name, detail):

    power_on, boot (cause), main, repl        a boot and how far it came
    line (text)                               one line of console output
    reset, deepsleep (ms), soft, watchdog, power_cut, panic, brownout, bootloader, killed
    off                                       the supply is off
    over                                      the scenario has come to its end
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from outpost.boards import Board, load_board
from outpost.errors import ExitCode, OutpostError
from outpost.sim.bench import Bench
from outpost.sim.chip import layout
from outpost.sim.description import describe
from outpost.sim.meter import Meter
from outpost.sim.scenario import Scenario
from outpost.sim.state import BoardState, World
from outpost.sim.vm import Vm, find_vm
from outpost.sim.wiring import Wiring

_KEPT_EVENTS = 20_000


@dataclass(frozen=True)
class Event:
    """Something that happened on a board, at `world_ms` (virtual, since 1970)."""

    world_ms: int
    name: str
    detail: str = ""


class SimBoard:
    """One simulated board.  `time` is "real", "fast" or "modelled"; `heap` replaces its own."""

    def __init__(  # noqa: PLR0913  the bench's switches; all but two have defaults
        self,
        board: Board | str,
        flash_path: Path | str,
        *,
        uid: str | None = None,
        heap: int | None = None,
        on_line: Callable[[str], None] | None = None,
        on_event: Callable[[Event], None] | None = None,
        wiring: Wiring | None = None,
        scenario: Scenario | None = None,
        time: Literal["real", "fast", "modelled"] = "real",
    ) -> None:
        self.board = load_board(board) if isinstance(board, str) else board
        self.flash_path = Path(flash_path)
        self.folder = self.flash_path.with_name(self.flash_path.name + ".chip")
        self.uid = uid or self._made_up_uid()
        self.heap_bytes = heap or self.board.heap_bytes
        self.wiring = wiring or Wiring()
        self.scenario = scenario
        self.vm: Vm = find_vm(self.board.chip.word_bits)
        self.events: deque[Event] = deque(maxlen=_KEPT_EVENTS)
        self._on_line = on_line
        self._on_event = on_event
        self._heard = threading.Condition()
        self._over = False
        self._count = 0
        self._cursor = 0
        self._prepare_files()
        self.state = BoardState(self.folder / "state.bin")
        self.state["fast"] = ("real", "fast", "modelled").index(time)
        self.state["fast_rate"] = self.state["fast_rate"] or 50
        self.meter = Meter(self.board.chip, tuple(ua for _, ua in self.wiring.rails))
        self._bench: Bench | None = None

    # -- supply ---------------------------------------------------------------------------------

    def start(self) -> SimBoard:
        """Switch the supply on; returns at once."""
        if self._bench is None:
            self._bench = Bench(self)
            self._bench.start()
        return self

    def stop(self) -> None:
        """Switch off and let go of every process, thread and port; flash keeps its contents."""
        if self._bench is not None:
            self._bench.stop()
            self._bench = None

    def __enter__(self) -> SimBoard:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def power_cycle(self, off_ms: int = 1000) -> None:
        """Pull the plug now, and put it back after `off_ms` of virtual time."""
        self._running().ask("power_on", off_ms)

    def press_reset(self) -> None:
        """The reset button (EN, RUN)."""
        self._running().ask("external", 0)

    def brown_out(self) -> None:
        self._running().ask("brownout", 0)

    def switch_off(self) -> None:
        """Pull the plug and leave it out; `power_cycle()` puts it back."""
        self._running().ask("off", 0)

    def cut_power(self, at_op: int, mode: str = "lost") -> None:
        """Arm a cut at the `at_op`-th program or erase from now; 0 disarms.

        The board stays dark for a second of virtual time, then boots as after any power-on.
        """
        if mode not in layout.CUT_MODES:
            raise ValueError(f"mode {mode!r}: one of {', '.join(layout.CUT_MODES)}")
        self.state["flash_cut_mode"] = layout.CUT_MODES.index(mode)
        self.state["flash_cut_at"] = self.state["flash_ops"] + at_op if at_op else 0

    def repl(self) -> str:
        """The address for mpremote: `mpremote connect <address> …`."""
        return self._running().repl_url

    # -- looking --------------------------------------------------------------------------------

    @property
    def world(self) -> World:
        """Sensor values, radio and network conditions, by name; set them while it runs."""
        return self.state.world

    @property
    def flash_ops(self) -> int:
        """Programs and erases so far, over all of the chip's flash."""
        return self.state["flash_ops"]

    @property
    def resets(self) -> list[str]:
        """How each boot came about, in order."""
        return [event.detail for event in list(self.events) if event.name == "boot"]

    @property
    def ended(self) -> bool:
        """Whether the scenario is over or nothing runs any more."""
        last = self.events[-1].name if self.events else ""
        return self._over or last == "off"

    @property
    def lines(self) -> list[str]:
        return [event.detail for event in list(self.events) if event.name == "line"]

    def world_ms(self) -> int:
        """The world's virtual time, ms since 1970."""
        if self._bench:
            return self._bench.ledger.world_ms()
        return self.state.wide("boot_world_ms")

    def pin(self, number: int) -> int:
        """The level the chip drives on a pin."""
        return self.state.pin_output(number)

    def drive_pin(self, number: int, level: int) -> None:
        """Put a level on an input; wakes a board that sleeps until then (EXT0 of an ESP32)."""
        self.state.set_pin_input(number, level)
        wakes = (self.state["wake_pin"], self.state["wake_level"]) == (number + 1, level)
        if self._bench and wakes:
            self._bench.ask("wake", 0)

    def wait_for(self, event: str | Callable[[Event], bool], timeout: float = 30.0) -> Event:
        """The first event after the one last waited for that is `event`.

        `event` is a name, "name:text" with `text` in the detail, or a predicate.  TimeoutError
        shows what came last.
        """
        wanted = event if callable(event) else _matcher(event)
        deadline = time.monotonic() + timeout
        with self._heard:
            while True:
                first = self._count - len(self.events)
                for index, seen in enumerate(list(self.events), first):
                    if index >= self._cursor and wanted(seen):
                        self._cursor = index + 1
                        return seen
                left = deadline - time.monotonic()
                if left <= 0 or not self._heard.wait(left):
                    raise TimeoutError(f"no {event!r} in {timeout} s; last: {self._tail()}")

    def record(self, name: str, detail: str = "") -> None:
        """Called by the bench thread: something happened."""
        event = Event(self.world_ms(), name, detail)
        with self._heard:
            self.events.append(event)
            self._count += 1
            self._heard.notify_all()
        self._over = self._over or name == "over"
        if name == "line" and self._on_line:
            self._on_line(detail)
        if self._on_event:
            self._on_event(event)

    # -- inside ---------------------------------------------------------------------------------

    def describe(self) -> dict[str, object]:
        """The description the chip's modules get."""
        told = describe(self.board, self.folder, self.flash_path.resolve(), self.uid)
        told["devices"] = [dict(device) for device in self.wiring.devices]
        told["rails_by_pin"] = {str(pin): n for n, (pin, _) in enumerate(self.wiring.rails)}
        told["access_points"] = [vars(point) for point in self.wiring.access_points]
        told["heap_scale"] = self.vm.heap_scale
        told["heap_extra"] = self.heap_bytes - self.board.heap_bytes
        told["lease"] = int(self.uid[-2:], 16) % 250
        told["hosts"] = dict(self.wiring.hosts)
        return told

    def _made_up_uid(self) -> str:
        """ESP32: a locally administered MAC; RP2040: the flash chip's 8 bytes."""
        digest = hashlib.sha256(str(self.flash_path.resolve()).encode()).hexdigest()
        return "02" + digest[:10] if self.board.chip.port == "esp32" else digest[:16]

    def _running(self) -> Bench:
        if self._bench is None:
            raise OutpostError("sim-off", "the board is not started", "call start() first")
        return self._bench

    def _tail(self) -> str:
        return " | ".join(f"{e.name} {e.detail}".strip() for e in list(self.events)[-12:])

    def _prepare_files(self) -> None:
        """Blank flash where there is none; a file of another size is another board's."""
        wanted = self.board.filesystem.bytes
        if not self.flash_path.exists():
            self.flash_path.write_bytes(b"\xff" * wanted)
        if self.flash_path.stat().st_size != wanted:
            raise OutpostError(
                "sim-flash-size",
                f"{self.flash_path} has {self.flash_path.stat().st_size} bytes, "
                f"{self.board.name} has {wanted}",
                f"use an image made for {self.board.name}",
                ExitCode.USAGE,
            )
        self.folder.mkdir(exist_ok=True)
        for part in self.board.partitions:
            path = self.folder / f"{part.name}.bin"
            if part.name != "vfs" and not path.exists():
                path.write_bytes(b"\xff" * part.bytes)


def _matcher(text: str) -> Callable[[Event], bool]:
    name, _, detail = text.partition(":")
    return lambda event: event.name == name and detail in event.detail
