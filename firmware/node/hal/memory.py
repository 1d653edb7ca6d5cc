"""Whether a TLS handshake can be afforded, and the block it needs, kept for it.

mbedTLS needs one block of 16.7 kB (its input record) and about 31 kB in all while it shakes
hands. Where these come from differs: on RP2 from Python's own heap, which fragments; on ESP32
from the IDF's, which Python can only ask about.
"""

import gc
import sys

from micropython import const

_RECORD_BYTES = const(17000)
_HANDSHAKE_BYTES = const(34000)


class GcMemory:
    """RP2: mbedTLS allocates on the GC heap. One block of a record's size is held from early on
    and let go just before a handshake, so that it is still in one piece then."""

    def __init__(self, record_bytes: int = _RECORD_BYTES, need: int = _HANDSHAKE_BYTES) -> None:
        self._record_bytes = record_bytes
        self._need = need
        self._held = None

    def hold(self) -> None:
        if self._held is None:
            try:
                self._held = bytearray(self._record_bytes)
            except MemoryError:
                pass  # a session still has it, or it is scattered: release() will tell

    def release(self) -> bool:
        """One collection; then whether a record's block and the rest of a handshake fit."""
        if self._held is None:
            self.hold()
        had = self._held is not None
        self._held = None
        gc.collect()
        return had and gc.mem_free() >= self._need

    def low(self) -> bool:
        return gc.mem_free() < self._need // 4


class IdfMemory:
    """ESP32: mbedTLS allocates on the IDF's heap, which Python can only ask about."""

    def __init__(self, regions) -> None:
        """`regions()` is esp32.idf_heap_info(esp32.HEAP_DATA): (total, free, largest, least)."""
        self._regions = regions

    def hold(self) -> None:
        pass

    def release(self) -> bool:
        gc.collect()
        return self._fits(_RECORD_BYTES, _HANDSHAKE_BYTES)

    def low(self) -> bool:
        return not self._fits(2048, 8192)

    def _fits(self, block: int, total: int) -> bool:
        largest = free = 0
        for region in self._regions():
            free += region[1]
            largest = max(largest, region[2])
        return largest >= block and free >= total


def of_this_chip():
    """The check for where mbedTLS allocates here; None where memory is no question."""
    if sys.platform == "rp2":
        return GcMemory()
    if sys.platform == "esp32":
        import esp32

        if hasattr(esp32, "idf_heap_info"):
            return IdfMemory(lambda: esp32.idf_heap_info(esp32.HEAP_DATA))
    return None
