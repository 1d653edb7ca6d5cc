"""The bench: the one thread that owns a board's processes, console and REPL port.

The chip process forks one child per boot and reports its end; this thread closes the books of
that boot, decides what comes next and opens the next one.  The thread lives as long as the board,
because the kernel's parent-death signal belongs to the thread that started the process.
"""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import signal
import threading
from typing import TYPE_CHECKING

from outpost.errors import OutpostError
from outpost.sim.chip import layout
from outpost.sim.console import LineSplitter, ReplPort
from outpost.sim.director import Director
from outpost.sim.scenario import Happening
from outpost.sim.supply import BootLedger, ending
from outpost.sim.vm import ChipProcess, chip_library, spawn

if TYPE_CHECKING:
    from outpost.sim.board import SimBoard

# What the stand-ins allocate between loading and boot.py: measured, 4.8 kB (esp32) to 6.6 kB (rp2)
# on the 32-bit VM, without the file system's own object, which a chip has as well.
_BOOT_BYTES = 4800
_overheads: dict[tuple[str, str, str], int] = {}
_FIRST_GUESS = 160_000
_CUT_OFF_MS = 1000
_PANIC_LIMIT = 20
# The reset that a scenario's event is.
_WAKES = {"power_cycle": "power_on", "brown_out": "brownout", "press_reset": "external"}
# The chip wrote its own last time before it ended in one of these ways.
_CLOSED_BY_CHIP = ("reset", "deepsleep", "soft", "bootloader")


class Bench:
    def __init__(self, board: SimBoard) -> None:
        self._board = board
        self.ledger = BootLedger(board.board, board.state, board.meter)
        self._orders: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
        self._wake_out, self._wake_in = os.pipe()
        self._lines = LineSplitter()
        self._repl = ReplPort(self._interrupt, lambda: bool(board.state["repl_reading"]))
        self._thread = threading.Thread(target=self._run, name=f"board-{board.uid}", daemon=True)
        self._failure: Exception | None = None
        self._ready = threading.Event()
        self._child = 0  # the boot's process; 0 between two boots
        self._booting = False
        self._asleep = False
        self._pending: tuple[str, int] | None = None
        self._panics = 0
        self._director = Director(board, board.scenario) if board.scenario else None
        self._buffer = b""

    @property
    def repl_url(self) -> str:
        return self._repl.url

    def start(self) -> None:
        """Returns when the chip is loaded and powered, or raises what went wrong."""
        self._thread.start()
        self._ready.wait()
        if self._failure:
            raise self._failure

    def stop(self) -> None:
        self.ask("stop", 0)
        self._thread.join(timeout=10)
        for end in (self._wake_in, self._wake_out):
            os.close(end)

    def ask(self, order: str, argument: int) -> None:
        if not self._thread.is_alive():
            return
        self._orders.put((order, argument))
        os.write(self._wake_in, b"!")

    # -- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._chip = self._load()
        except Exception as error:  # noqa: BLE001  start() raises it
            self._failure = error
            self._ready.set()
            return
        try:
            self._board.record("power_on")
            self._boot("power_on")
            self._ready.set()
            self._serve()
        finally:
            self._clean_up()

    def _load(self) -> ChipProcess:
        """Start the chip with a heap that leaves the board's own size to programs."""
        board = self._board
        told = board.describe()
        library = chip_library(board.wiring.models)
        key = (f"{board.vm.path} {library}", board.board.chip.port, repr(told["devices"]))
        while True:
            overhead = _overheads.get(key, _FIRST_GUESS)
            # The collector keeps three bits for each block of two words: 2.5 % of what we add.
            beside = overhead + _BOOT_BYTES * board.vm.heap_scale
            heap = board.heap_bytes * board.vm.heap_scale + beside * 41 // 40
            chip = spawn(board.vm, heap, board.folder / "state.bin", told, library)
            measured = self._await_ready(chip)
            if _overheads.setdefault(key, measured) == overhead:
                return chip
            chip.process.kill()
            chip.process.wait()
            chip.close()

    def _await_ready(self, chip: ChipProcess) -> int:
        line = b""
        while not line.endswith(b"\n"):
            piece = os.read(chip.events, 1)
            if not piece:
                text = chip.process.communicate()[0].decode("utf-8", "replace")
                raise OutpostError("sim-chip", f"the chip did not start: {text.strip()}", None)
            line += piece
        return int(line.split()[1])

    def _serve(self) -> None:
        assert self._chip.process.stdout
        os.set_blocking(self._chip.process.stdout.fileno(), False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._chip.events, selectors.EVENT_READ, self._on_events)
            selector.register(self._chip.process.stdout, selectors.EVENT_READ, self._on_output)
            selector.register(self._wake_out, selectors.EVENT_READ, self._on_wake)
            selector.register(self._repl.listener, selectors.EVENT_READ, self._repl.accept)
            self._going = True
            watched = None
            while self._going:
                if self._repl.client is not watched:
                    watched = self._watch_client(selector, watched)
                for key, _ in selector.select(1.0):
                    key.data()

    def _watch_client(self, selector: selectors.BaseSelector, old: object) -> object:
        if old is not None:
            for key in list(selector.get_map().values()):
                if key.fileobj is old:
                    selector.unregister(old)
        if self._repl.client is not None:
            selector.register(self._repl.client, selectors.EVENT_READ, self._on_client)
        return self._repl.client

    def _on_wake(self) -> None:
        os.read(self._wake_out, 1)
        order, argument = self._orders.get()
        if order == "stop":
            self._going = False
        elif order == "wake":
            if self._asleep:
                self._boot("deepsleep")
        elif self._child or self._booting:
            self._pending = (order, argument)
            self._signal(signal.SIGKILL)
        else:
            self._power(order, argument)

    def _on_client(self) -> None:
        data = self._repl.receive()
        if data and self._chip.process.stdin:
            self._chip.process.stdin.write(data)

    def _signal(self, number: int) -> None:
        """To the running boot; one that has just ended, and of which `end` is still to be read, is
        no longer there."""
        if self._child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, number)

    def _interrupt(self) -> None:
        self._signal(signal.SIGINT)

    def _on_output(self) -> bool:
        """Take in what was printed, as much as a pipe holds; False when there is nothing.

        Never blocks: that it was readable may be old news, when something else has read it since.
        """
        assert self._chip.process.stdout
        try:
            data = os.read(self._chip.process.stdout.fileno(), 65536)
        except BlockingIOError:
            return False
        self._repl.send(data)
        if self._repl.client and self._board.state["stage"] == layout.STAGE_REPL:
            return bool(data)  # a tool's dialogue, not the program's output
        for line in self._lines.feed(data):
            self._board.record("line", line)
        return bool(data)

    def _on_events(self) -> None:
        data = os.read(self._chip.events, 4096)
        if not data:
            self._going = False
            self._board.record("off", "the chip's process has gone")
            return
        self._on_output()  # what was printed before it was told comes before it
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            word, _, rest = line.decode().partition(" ")
            if word == "pid":
                self._child, self._booting = int(rest), False
                if self._pending:  # asked for between two boots
                    self._signal(signal.SIGKILL)
            elif word == "end":
                self._ended(int(rest))
            elif word == "sync":
                self._sync(int(rest))
            else:
                self._board.record(word, rest)

    # -- boots ----------------------------------------------------------------------------------

    def _boot(self, kind: str) -> None:
        self._board.record("boot", kind)
        self.ledger.open(kind)
        if self._director:
            self._arm_cuts(self._director.boot())
            self._check_over()
        self._asleep, self._booting = False, True
        self._chip.tell("boot")

    def _ended(self, wait_status: int) -> None:
        self._child = 0
        self._drain()
        how = ending(wait_status)
        self.ledger.close(exact=how in _CLOSED_BY_CHIP)
        if self._pending:
            (order, argument), self._pending = self._pending, None
            self._board.record(how)
            self._power(order, argument)
            return
        if how == "deepsleep":
            self._sleep()
            return
        self._board.record(how, str(wait_status) if how == "panic" else "")
        self._panics = self._panics + 1 if how == "panic" else 0
        if how == "power_cut":
            self.ledger.pass_time("off", _CUT_OFF_MS)
            self._boot("power_on")
        elif how == "bootloader" or self._panics > _PANIC_LIMIT:
            self._board.record("off", how)
        else:
            self._boot("power_on" if how == "killed" else how)

    def _sync(self, now_ms: int) -> None:
        """The chip stands still at a change of the scenario."""
        if self._director is None:
            return
        due = self._director.sync(now_ms)
        self._arm_cuts(due)
        for event in due:
            if event.what in _WAKES:
                self.ask(_WAKES[event.what], _CUT_OFF_MS if event.what == "power_cycle" else 0)
        self._check_over()
        self._board.state["sync_count"] += 1

    def _arm_cuts(self, due: list[Happening]) -> None:
        for event in due:
            if event.what == "cut_power":
                self._board.cut_power(event.argument or 1, event.mode)

    def _check_over(self) -> None:
        if self._director and self._director.over:
            self._director = None
            self._board.record("over")

    def _drain(self) -> None:
        """The last words of a boot come before its end."""
        while self._on_output():
            pass
        rest = self._lines.rest()
        if rest:
            self._board.record("line", rest)

    def _sleep(self) -> None:
        asked = self._board.state.wide("sleep_ms")
        self._board.record("deepsleep", str(asked))
        if asked < 0:  # until a pin or the button wakes it
            self._asleep = True
            return
        kind = "deepsleep"
        if self._director:
            asked, due = self._director.sleep(asked)
            kind = next((_WAKES[event.what] for event in due if event.what in _WAKES), kind)
        self.ledger.pass_time("deep_sleep", asked)
        self._boot(kind)

    def _power(self, order: str, argument: int) -> None:
        if order == "off":
            self._board.record("off")
            return
        self.ledger.pass_time("off", argument)
        if order == "power_on":
            self._board.record("power_on")
        self._boot(order)

    def _clean_up(self) -> None:
        self._signal(signal.SIGKILL)
        if self.ledger.now_ms():
            self.ledger.close(exact=False)
        self._chip.process.kill()
        self._chip.process.wait()
        self._chip.close()
        self._repl.close()
