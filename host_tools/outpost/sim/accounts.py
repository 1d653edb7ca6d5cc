"""Where every reading of a battery board went: an exact account, from what the board itself says.

    taken = delivered + dropped + queued + lost

`taken` is what the device said when it took a reading ("reading <boot> <seq>"); `queued` and
`dropped` are read from its flash and its RTC memory after the run; `delivered` is the fleet's word
where there is one, else the device's own counter. What is left over was lost, and may be so by a
power cut only: at most one open batch for each.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loader import cbor
from node.core import record, wakestate
from node.core.outbox import Outbox, OutboxConfig

from outpost.sim.chip import layout

if TYPE_CHECKING:
    from outpost.sim.board import SimBoard

_READING = re.compile(r"^reading (\d+) (\d+)$")


class Taken:
    """The readings a board says it has taken: give it every line."""

    def __init__(self) -> None:
        self.rows: set[tuple[int, int]] = set()

    def line(self, line: str) -> None:
        found = _READING.match(line)
        if found:
            self.rows.add((int(found[1]), int(found[2])))


@dataclass(frozen=True)
class Accounts:
    """Readings, not events."""

    taken: int
    delivered: int
    dropped: int
    queued: int

    @property
    def lost(self) -> int:
        return self.taken - self.delivered - self.dropped - self.queued

    def as_dict(self) -> dict[str, int]:
        return {**vars(self), "lost": self.lost}


def settle(board: SimBoard, taken: Taken, delivered: int | None = None) -> Accounts:
    """The account of a board that has stopped."""
    state = board.state
    kept = state.read_bytes(layout.RTC_MEMORY_AT, state["rtc_len"])
    found = wakestate.unpack(kept)
    batch = record.decode(found.batch).samples if found and found.batch else 0
    lane = _outbox(board)
    if delivered is None:
        delivered = lane.delivered
    return Accounts(len(taken.rows), delivered, lane.dropped, lane.queued + batch)


def device_id(board: SimBoard) -> str:
    """The identity on the flash of a board that has stopped; empty without one."""
    found = _Flash(board).read("/data/device.cbor")
    return str(cbor.decode(found)["id"]) if found else ""


def _outbox(board: SimBoard) -> Any:
    """The lane of telemetry as the device would find it at its next boot."""
    outbox = Outbox(_Flash(board), OutboxConfig())
    outbox.open()
    return outbox._telemetry  # noqa: SLF001  (events are not readings)


class _Flash:
    """The storage port over a stopped board's image; nothing is written back."""

    def __init__(self, board: SimBoard) -> None:
        import littlefs

        shape = board.board.filesystem
        self._fs = littlefs.LittleFS(
            block_size=shape.block_bytes,
            block_count=shape.bytes // shape.block_bytes,
            read_size=shape.read_bytes,
            prog_size=shape.prog_bytes,
            cache_size=min(shape.block_bytes, 4 * max(shape.read_bytes, shape.prog_bytes)),
            mount=False,
        )
        self._fs.context.buffer[:] = board.flash_path.read_bytes()
        self._fs.mount()

    def read(self, path: str) -> bytes | None:
        try:
            with self._fs.open(path, "rb") as file:
                return bytes(file.read())
        except OSError:
            return None

    def read_into(self, path: str, offset: int, buffer: bytearray) -> int:
        data = (self.read(path) or b"")[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        return len(data)

    def size(self, path: str) -> int | None:
        data = self.read(path)
        return None if data is None else len(data)

    def listdir(self, path: str) -> list[str]:
        try:
            return list(self._fs.listdir(path))
        except OSError:
            return []

    def remove(self, path: str) -> bool:
        try:
            self._fs.remove(path)
        except OSError:
            return False
        return True
