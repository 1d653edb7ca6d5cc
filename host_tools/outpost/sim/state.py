"""The runner's side of the shared state file: words by name, world values, pins, RTC memory.

`chip/layout.py` is the one description of the bytes; this module and the VM both read it.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from outpost.sim.chip import layout

_WORD = struct.Struct("<i")
_WIDE = struct.Struct("<q")


class BoardState:
    """A mapped state file; made when missing or of another layout."""

    def __init__(self, path: Path) -> None:
        fresh = not path.is_file() or path.stat().st_size != layout.STATE_BYTES
        if fresh:
            path.write_bytes(bytes(layout.STATE_BYTES))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), layout.STATE_BYTES)
        if self["magic"] != layout.MAGIC:
            self._map[:] = bytes(layout.STATE_BYTES)
            self["magic"] = layout.MAGIC
        self._words = {name: layout.word_at(name) for name in layout.WORDS}
        self.world = World(self._map)

    def __getitem__(self, name: str) -> int:
        return int(_WORD.unpack_from(self._map, layout.word_at(name))[0])

    def __setitem__(self, name: str, value: int) -> None:
        _WORD.pack_into(self._map, layout.word_at(name), value)

    def wide(self, name: str) -> int:
        return int(_WIDE.unpack_from(self._map, layout.wide_at(name))[0])

    def set_wide(self, name: str, value: int) -> None:
        _WIDE.pack_into(self._map, layout.wide_at(name), value)

    def row(self, at: int, count: int) -> list[int]:
        return list(struct.unpack_from(f"<{count}i", self._map, at))

    def clear(self, at: int, size: int) -> None:
        self._map[at : at + size] = bytes(size)

    def read_bytes(self, at: int, size: int) -> bytes:
        return bytes(self._map[at : at + size])

    def pin_output(self, pin: int) -> int:
        return int(self._map[layout.PIN_AT + layout.PIN_BYTES * pin + 1])

    def set_pin_input(self, pin: int, level: int) -> None:
        self._map[layout.PIN_AT + layout.PIN_BYTES * pin + 2] = level
        self._map[layout.PIN_AT + layout.PIN_BYTES * pin + 3] = 0
        self["pin_events"] += 1

    def close(self) -> None:
        self._map.close()


class World(MutableMapping[str, int]):
    """Named 32-bit values that parts on the board measure; live while the board runs.

    A name stays once it is set; deleting is not offered, because the VM remembers places.
    """

    def __init__(self, memory: mmap.mmap) -> None:
        self._map = memory
        self._at: dict[str, int] = {}
        for index in range(self._count()):
            at = layout.WORLD_AT + index * layout.WORLD_ENTRY_BYTES
            name = bytes(memory[at : at + layout.WORLD_NAME_BYTES]).rstrip(b"\0").decode()
            self._at[name] = at + layout.WORLD_NAME_BYTES

    def _count(self) -> int:
        return int(_WORD.unpack_from(self._map, layout.WORLD_COUNT_AT)[0])

    def __getitem__(self, name: str) -> int:
        return int(_WORD.unpack_from(self._map, self._at[name])[0])

    def __setitem__(self, name: str, value: int) -> None:
        at = self._at.get(name)
        if at is None:
            at = self._add(name)
        _WORD.pack_into(self._map, at, int(value))

    def _add(self, name: str) -> int:
        key = name.encode()
        count = self._count()
        if len(key) > layout.WORLD_NAME_BYTES or count == layout.WORLD_ENTRIES:
            raise ValueError(f"world value {name!r}: name too long, or too many values")
        start = layout.WORLD_AT + count * layout.WORLD_ENTRY_BYTES
        self._map[start : start + layout.WORLD_NAME_BYTES] = key.ljust(
            layout.WORLD_NAME_BYTES, b"\0"
        )
        self._at[name] = start + layout.WORLD_NAME_BYTES
        _WORD.pack_into(self._map, layout.WORLD_COUNT_AT, count + 1)
        return self._at[name]

    def __delitem__(self, name: str) -> None:
        raise TypeError("a world value cannot be removed")

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._at))

    def __len__(self) -> int:
        return len(self._at)
