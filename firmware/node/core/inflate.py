"""zlib streams (RFC 1950), pulled through a small window: MicroPython's deflate, or zlib where
that runs instead.

`stream(file)` gives an object with readinto(buffer) over the inflated bytes. Bad data raises one
of ERRORS; on the device that is OSError(22) for a broken stream and EOFError for one that ends
early.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ERRORS = (OSError, EOFError, ValueError)

try:
    import deflate  # type: ignore[import-not-found]

    def stream(file: "Any") -> "Any":
        # window bits 0: as the stream's own header says; the blobs are made with at most 12 (4
        # KiB)
        return deflate.DeflateIO(file, deflate.ZLIB, 0)

except ImportError:
    import zlib

    class _Stream:
        """The same for CPython, where the updater's tests and the bundle tools run."""

        def __init__(self, file: "Any") -> None:
            self._file = file
            self._zlib = zlib.decompressobj()
            self._tail = b""

        def readinto(self, buffer: "Any") -> int:
            out = b""
            while not out and not self._zlib.eof:
                data = self._tail or self._file.read(256)
                if not data:
                    raise EOFError
                try:
                    out = self._zlib.decompress(data, len(buffer))
                except zlib.error:
                    raise OSError(22)
                self._tail = self._zlib.unconsumed_tail
            buffer[: len(out)] = out
            return len(out)

    def stream(file: "Any") -> "Any":
        return _Stream(file)
