"""The two application partitions of an ESP32 with the OTA layout, for `core.image` and for the
start.

Everywhere else there is one runtime, and nothing to mark: `spare()` gives None.
"""

try:
    from esp32 import Partition
except ImportError:
    Partition = None


def mark_valid() -> None:
    """This runtime has started the application: the bootloader may keep it. Harmless when
    repeated.
    """
    if Partition is not None:
        try:
            Partition.mark_app_valid_cancel_rollback()
        except OSError:
            pass  # a layout without OTA


def spare():
    """The Spare, or None where there is no second partition."""
    if Partition is None:
        return None
    try:
        running = Partition(Partition.RUNNING)
        return Spare(running, running.get_next_update())
    except OSError:
        return None


class Spare:
    """The partition that does not run, in chunks of 4 KiB, and the one that does, to copy from."""

    def __init__(self, running, other) -> None:
        self._running = running
        self._other = other

    def read(self, chunk: int, buffer) -> None:
        self._other.readblocks(chunk, buffer)

    def read_running(self, chunk: int, buffer) -> None:
        self._running.readblocks(chunk, buffer)

    def write(self, chunk: int, buffer) -> None:
        self._other.writeblocks(chunk, buffer)

    def switch(self) -> None:
        """Start the other one at the next reset. OSError when the bootloader would not take it."""
        self._other.set_boot()
