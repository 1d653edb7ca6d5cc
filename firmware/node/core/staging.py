"""The slot an update is built in: what is there, what can be taken from the running slot, what is
missing.

Owns every write to the staging slot but the last three (manifest, seal and boot record are the
loader's, in `Boot.activate`). Theory: files are addressed by their SHA-256, and the flash is the
only memory of progress. Whatever was cut, `survey` hashes what it finds and goes on from there, so
no note about progress can disagree with the facts. A blob on its way is kept compressed, as it
came, in `<first 16 hex digits of its digest>~`; its length is where to go on. Nothing is moved to
a listed path before its hash has been computed over the very bytes written there.

`files` is the port to the filesystem: open(path, mode), entries(path) -> [(name, is_folder)],
size(path) or -1, free(path), remove(path), rename(a, b), mkdir(path), rmdir(path). Long work is
done in generators that yield 0 every few KiB.
"""

import hashlib
from binascii import hexlify

from loader import layout
from loader.cbor import VerifyError
from micropython import const
from node.core import inflate
from node.core.fetch import BLOCK
from node.core.filetable import FileTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Generator

    Steps = Generator[int, None, Any]

_EINVAL = const(22)
_BUFFER = const(512)
_BREATHE = const(8)  # buffers between two yields: 4 KiB

_TMP = layout.TMP
_DOCUMENT = layout.MANIFEST + _TMP  # where the loader, too, writes it before it gets its name


def kept_document(files: "Any", slot: str) -> bytes:
    """The release document that `begin` kept in the slot, as it is on flash: unverified; empty
    when there is none.
    """
    if not 0 < files.size(slot + "/" + _DOCUMENT) <= layout.MAX_DOCUMENT_BYTES:
        return b""
    with files.open(slot + "/" + _DOCUMENT, "rb") as file:
        return file.read()  # type: ignore[no-any-return]


def clear(files: "Any", folder: str) -> None:
    """Give the space back: remove every file below a folder."""
    for name, is_folder in files.entries(folder):
        if is_folder:
            clear(files, folder + "/" + name)
        else:
            files.remove(folder + "/" + name)


class Partial:
    """The compressed blob on flash; `write` appends, and no more than BLOCK bytes are ever not yet
    on flash.
    """

    def __init__(self, files: "Any", path: str) -> None:
        self._files = files
        self.path = path
        self.size = max(0, files.size(path))
        self._file = None  # type: Any

    def write(self, view: "Any") -> None:
        if self._file is None:
            self._file = self._files.open(self.path, "ab")
        while len(view):
            part = view[: BLOCK - self.size % BLOCK]
            self._file.write(part)
            self.size += len(part)
            if self.size % BLOCK == 0:
                self._file.flush()
            view = view[len(part) :]

    def close(self) -> None:
        """Put what there is on flash: the next byte to fetch is then `size`."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def restart(self) -> None:
        self.close()
        if self.size:
            self._files.remove(self.path)
        self.size = 0


class Staging:
    """One release being put together in the folder `slot`, with help from the folder `running`."""

    def __init__(self, files: "Any", slot: str, running: str, wanted: FileTable) -> None:
        self._files = files
        self._slot = slot
        self._running = running
        self.wanted = wanted
        self._done = bytearray(len(wanted))
        self._buffer = bytearray(_BUFFER)
        self.copied = 0  # files taken from the running slot

    # --- questions

    def missing(self) -> int:
        """The index of the next file that has to be downloaded, or -1."""
        for i in range(len(self._done)):
            if not self._done[i]:
                return i
        return -1

    def missing_bytes(self) -> int:
        """What the files that are not there will take on flash, at least: small ones live in their
        folder's block.
        """
        sizes = [self.wanted.size(i) for i in range(len(self.wanted)) if not self._done[i]]
        return sum([(size + BLOCK - 1) // BLOCK * BLOCK for size in sizes if size >= BLOCK // 4])

    def partial(self, index: int) -> Partial:
        return Partial(self._files, self._slot + "/" + _partial_name(self.wanted.digest(index)))

    # --- local work

    def begin(self, doc: "Any") -> None:
        """Make the slot one that cannot boot, and keep the document, so that it need not be
        fetched again.
        """
        self._make_folder(self._slot)
        for name in (layout.MANIFEST, layout.SEAL):
            if self._files.size(self._slot + "/" + name) >= 0:
                self._files.remove(self._slot + "/" + name)
        if kept_document(self._files, self._slot) != doc:
            with self._files.open(self._slot + "/" + _DOCUMENT, "wb") as file:
                file.write(doc)

    def survey(self) -> "Steps":
        """Find what the slot already holds; remove the rest, and folders that nothing needs."""
        partials = [_partial_name(self.wanted.digest(i)) for i in range(len(self.wanted))]

        def sort_out(path: str) -> "Steps":
            if path != _DOCUMENT and path not in partials:
                yield from self._sort_out(path)

        yield from self._each(self._slot, "", sort_out)
        for i, name in enumerate(partials):
            path = self._slot + "/" + name
            if self._done[i] and self._files.size(path) >= 0:
                self._files.remove(path)
        yield from self._place()
        self._prune(self._slot)

    def copy(self) -> "Steps":
        """Take from the running slot every file that is wanted: hashed first to find it, again
        while it is copied.
        """

        def take(path: str) -> "Steps":
            source = self._running + "/" + path
            size = self._files.size(source)
            if self._undone_of_size(size):
                digest = yield from self._hash(source)
                for i in self._undone(size, digest):
                    yield from self._copy(source, i)

        yield from self._each(self._running, "", take)

    def unpack(self, index: int, partial: Partial) -> "Steps":
        """Inflate a downloaded blob to its place and compare its hash. VerifyError: blob-data,
        blob-size, blob-hash.
        """
        path, size, digest = self.wanted[index]
        with self._files.open(partial.path, "rb") as file:
            try:
                yield from self._write(index, inflate.stream(file))
            except VerifyError:
                raise
            except inflate.ERRORS as error:
                # EINVAL is the stream's; any other number is the flash's
                if type(error) is OSError and error.args[0] != _EINVAL:
                    raise
                raise VerifyError("blob-data", path)
        self._files.remove(partial.path)
        for i in self._undone(size, digest):  # the same content under another path
            yield from self._copy(self._slot + "/" + path, i)

    # --- the parts of it

    def _each(self, folder: str, prefix: str, action: "Any") -> "Steps":
        """Call the generator `action(path)` for every file below a folder."""
        for name, is_folder in self._files.entries(folder):
            if is_folder:
                yield from self._each(folder + "/" + name, prefix + name + "/", action)
            else:
                yield from action(prefix + name)
        yield 0

    def _prune(self, folder: str) -> None:
        """Remove empty folders: one of them may be in the place of a file."""
        for name, is_folder in self._files.entries(folder):
            if is_folder:
                self._prune(folder + "/" + name)
                if not self._files.entries(folder + "/" + name):
                    self._files.rmdir(folder + "/" + name)

    def _sort_out(self, path: str) -> "Steps":
        """One file of the slot: in its place, wanted elsewhere (set aside under its digest), or to
        be removed.
        """
        here = self._slot + "/" + path
        size = self._files.size(here)
        if self._undone_of_size(size):
            digest = yield from self._hash(here)
            matches = self._undone(size, digest)
            for i in matches:
                if self.wanted.path(i) == path:
                    self._done[i] = 1
                    return
            if matches:
                if path != _aside_name(digest):
                    self._files.rename(here, self._slot + "/" + _aside_name(digest))
                return
        self._files.remove(here)

    def _place(self) -> "Steps":
        """Move files that were set aside to where the release wants them."""
        for i in range(len(self.wanted)):
            path, size, digest = self.wanted[i]
            aside = self._slot + "/" + _aside_name(digest)
            if self._files.size(aside) < 0:
                continue
            matches = self._undone(size, digest)
            if not matches or (yield from self._hash(aside)) != digest:
                self._files.remove(aside)
                continue
            for other in matches[1:]:
                yield from self._copy(aside, other)
            path = self.wanted.path(matches[0])
            self._make_parents(path)
            self._files.rename(aside, self._slot + "/" + path)
            self._done[matches[0]] = 1

    def _undone_of_size(self, size: int) -> bool:
        for i in range(len(self.wanted)):
            if self.wanted.size(i) == size and not self._done[i]:
                return True
        return False

    def _undone(self, size: int, digest: bytes) -> "list[int]":
        found = []
        for i in range(len(self.wanted)):
            same = self.wanted.size(i) == size and self.wanted.digest(i) == digest
            if same and not self._done[i]:
                found.append(i)
        return found

    def _hash(self, path: str) -> "Steps":
        h = hashlib.sha256()
        view = memoryview(self._buffer)
        with self._files.open(path, "rb") as file:
            turn = 0
            while True:
                count = file.readinto(self._buffer)
                if not count:
                    return h.digest()
                h.update(view[:count])
                turn += 1
                if turn % _BREATHE == 0:
                    yield 0

    def _copy(self, source: str, index: int) -> "Steps":
        with self._files.open(source, "rb") as file:
            try:
                yield from self._write(index, file)
            except VerifyError:
                return  # it changed under us: flash that is going bad; it can be downloaded
        self.copied += 1

    def _write(self, index: int, source: "Any") -> "Steps":
        """Write file `index` from a stream, hashing what is written; VerifyError when it is not
        that file.
        """
        path, size, digest = self.wanted[index]
        target = self._slot + "/" + path
        self._make_parents(path)
        if (yield from self._pour(source, target, size)) != digest:
            raise VerifyError("blob-hash", path)
        self._done[index] = 1

    def _pour(self, source: "Any", target: str, size: int) -> "Steps":
        h = hashlib.sha256()
        view = memoryview(self._buffer)
        turn = 0
        with self._files.open(target, "wb") as file:
            while True:
                count = source.readinto(self._buffer)
                if not count:
                    break
                size -= count
                if size < 0:  # a small blob that inflates for ever
                    raise VerifyError("blob-size", target)
                h.update(view[:count])
                file.write(view[:count])
                turn += 1
                if turn % _BREATHE == 0:
                    yield 0
        if size:
            raise VerifyError("blob-size", target)
        return h.digest()

    def _make_parents(self, path: str) -> None:
        parts = path.split("/")
        folder = self._slot
        for part in parts[:-1]:
            folder += "/" + part
            self._make_folder(folder)

    def _make_folder(self, path: str) -> None:
        try:
            self._files.mkdir(path)
        except OSError:
            pass  # it exists; if not, the next write says so


def _partial_name(digest: bytes) -> str:
    return hexlify(digest[:8]).decode() + _TMP


def _aside_name(digest: bytes) -> str:
    return hexlify(digest[:8]).decode() + _TMP + _TMP
