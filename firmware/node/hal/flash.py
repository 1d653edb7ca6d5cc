"""The chip's flash below the file system, read to find out whether something is still there.

Owns how each port names the device that holds the file system, and the memory that outlives a
deep sleep.
"""

import machine

_BLOCK = 4096
_WINDOW = 512  # looked at in one go: the heap of a connected node has no block in one piece
_OVERLAP = 64  # bytes; no piece is longer
_COUNT = 4  # ioctl: how many blocks
_SLEEP_BYTES = 2048


def device():
    """The block device of the file system."""
    try:
        import esp32
    except ImportError:
        import rp2

        return rp2.Flash()
    for label in ("vfs", "ffat"):
        found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label=label)
        if found:
            return found[0]
    raise OSError(19)  # ENODEV


def found(pieces):
    """For each block in turn, how many of `pieces` (64 bytes each at most) it holds."""
    blocks = device()
    buffer = bytearray(_WINDOW)
    for number in range(blocks.ioctl(_COUNT, 0)):
        held = set()
        for offset in range(0, _BLOCK - _OVERLAP, _WINDOW - _OVERLAP):
            blocks.readblocks(number, buffer, min(offset, _BLOCK - _WINDOW))
            held.update([piece for piece in pieces if piece in buffer])
        yield len(held)


def forget_sleep_memory() -> None:
    """What an ESP32 keeps through a deep sleep; other chips keep nothing."""
    clock = machine.RTC()
    if hasattr(clock, "memory"):
        clock.memory(bytes(_SLEEP_BYTES))  # the length alone would leave the bytes there
        clock.memory(b"")
