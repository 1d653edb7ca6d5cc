"""The other half of a release that brings its own MicroPython: the runtime image, put into the
spare partition.

Owns that partition's contents while an update is made. The release's chunk table (a file of the
slot, so verified with it) has a SHA-256 for each 4096 bytes. A chunk that the partition already
holds is left alone, one that the running image has at the same place is copied, the others are
blobs like any file, and none is written before its hash is right. The partition is the only memory
of progress, as the slot is for files; at the end all of it is read back and compared with the
image's own hash.

`port` is the pair of partitions: read(chunk, buffer), read_running(chunk, buffer), write(chunk,
buffer), switch().

Why both halves switch together. The trial is begun first, the partition chosen after: cut between
the two, the old runtime starts, the loader finds that the trial's release wants another one
(runtime-running) and goes on with the old pair. ESP-IDF takes a new image back unless it is marked
valid in its first run; then, too, it is the old pair. The application marks it valid as soon as it
runs, which is after the loader has compared both. When nothing in the slots fits the runtime that
runs (a rolled back application), main.py chooses the other partition, once.
"""

import hashlib
import io

from loader import record
from loader.cbor import VerifyError
from micropython import const
from node.core import inflate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Generator

    Steps = Generator[Any, None, Any]

CHUNK = const(4096)
_HASH = const(32)
_MAX_ATTEMPTS = const(5)  # at starting one image: some may have been power cuts
_ATTEMPTS = "/data/runtime.cbor"


class Image:
    """`runtime` is the release's map; `table` the path of the verified chunk table."""

    def __init__(self, port: "Any", files: "Any", table: str, runtime: "dict[str, Any]") -> None:
        self._port = port
        self._files = files
        self._table = table
        self._size: int = runtime["size"]
        self._sha256: bytes = runtime["sha256"]
        self._buffer = bytearray(CHUNK)
        self.written = 0

    def fill(self, fetch: "Any") -> "Steps":
        """Bring every chunk to the partition. `fetch(digest, limit)` is a generator that returns a
        blob's bytes. VerifyError: blob-data, blob-hash, runtime-hash.
        """
        for chunk in range((self._size + CHUNK - 1) // CHUNK):
            yield 0
            wanted = self._wanted(chunk)
            self._port.read(chunk, self._buffer)
            if self._matches(chunk, wanted):
                continue
            self._port.read_running(chunk, self._buffer)
            if not self._matches(chunk, wanted):
                size = self._bytes(chunk)
                blob = yield from fetch(wanted, size + size // 256 + 64)
                self._inflate(blob)
                if not self._matches(chunk, wanted):
                    raise VerifyError("blob-hash", "runtime")
            self._port.write(chunk, self._buffer)
            self.written += 1
        yield from self._check()

    def _check(self) -> "Steps":
        h = hashlib.sha256()
        view = memoryview(self._buffer)
        for chunk in range((self._size + CHUNK - 1) // CHUNK):
            self._port.read(chunk, self._buffer)
            h.update(view[: self._bytes(chunk)])
            yield 0
        if h.digest() != self._sha256:
            raise VerifyError("runtime-hash")

    def _bytes(self, chunk: int) -> int:
        """Of the image in this chunk: the last one may be short."""
        return min(CHUNK, self._size - chunk * CHUNK)

    def _wanted(self, chunk: int) -> bytes:
        with self._files.open(self._table, "rb") as file:
            file.seek(chunk * _HASH)
            digest: bytes = file.read(_HASH)
            return digest

    def _matches(self, chunk: int, wanted: bytes) -> bool:
        return hashlib.sha256(memoryview(self._buffer)[: self._bytes(chunk)]).digest() == wanted

    def _inflate(self, blob: "Any") -> None:
        """Fill the buffer from a blob; what is longer or broken cannot match."""
        view = memoryview(self._buffer)
        view[:] = b"\xff" * CHUNK
        source = inflate.stream(io.BytesIO(blob))
        at = 0
        try:
            while at < CHUNK:
                count = source.readinto(view[at:])
                if not count:
                    return
                at += count
        except inflate.ERRORS:
            raise VerifyError("blob-data", "runtime")


def count_attempt(base: str, digest: bytes) -> None:
    """One more attempt at starting this release's runtime. VerifyError("runtime-failed") after too
    many: an image that never lives long enough to be marked valid would be installed for ever.
    """
    path = base + _ATTEMPTS
    stored = record.read_map(path)
    count = stored[1] if type(stored) is list and stored[0] == digest else 0
    if count >= _MAX_ATTEMPTS:
        raise VerifyError("runtime-failed")
    record.write_map(path, [digest, count + 1])
