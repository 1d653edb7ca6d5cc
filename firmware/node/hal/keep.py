"""Where a battery node's state survives a sleep: RTC memory, or a small file where there is none.

RTC memory keeps its bytes through every kind of reset but a loss of power, and has no checksum:
what is in it is for `core.wakestate` to judge.
"""

import machine

_PATH = "/data/wake.bin"


class RtcKeep:
    """`bytes_` of RTC memory (ESP32)."""

    def __init__(self, bytes_: int) -> None:
        self.bytes = bytes_
        self._rtc = machine.RTC()

    def read(self) -> bytes:
        return self._rtc.memory()

    def write(self, data: bytes) -> None:
        self._rtc.memory(data)


class FileKeep:
    """A file: for boards that doze with their RAM on, written only around a connection."""

    bytes = 0  # no bound of its own

    def __init__(self, storage) -> None:
        self._storage = storage

    def read(self):
        return self._storage.read(_PATH)

    def write(self, data: bytes) -> None:
        self._storage.write_atomic(_PATH, data)


def of_this_board(data: dict, storage):
    """`data` is board-<board>.cbor."""
    size = data["rtc_memory_bytes"]
    return RtcKeep(size) if size else FileKeep(storage)
