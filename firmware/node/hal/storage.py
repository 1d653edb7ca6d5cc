"""Files on the chip's littlefs, for the pure core: the storage port.

Invariants (measured, see the notes on littlefs in docs/reference): a file that is replaced by
`write_atomic` is the old or the new one after any power cut; `append` is all or nothing, because
littlefs commits a file's new size only when it is closed. Nothing is removed before its successor
has its name.
"""

import os

_TMP = ".tmp"
_ENOENT = 2
_EEXIST = 17


class Storage:
    """The port of node.core: paths are absolute, `None` or empty means there is no such file."""

    def read(self, path: str):
        """The file's bytes, or None."""
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            if error.errno != _ENOENT:
                raise
            return None

    def read_into(self, path: str, offset: int, buffer) -> int:
        """Fill `buffer` from `offset` on; how many bytes there were (0 when there is no file)."""
        try:
            with open(path, "rb") as file:
                file.seek(offset)
                return file.readinto(buffer)
        except OSError as error:
            if error.errno != _ENOENT:
                raise
            return 0

    def write_atomic(self, path: str, data) -> None:
        """Replace the file: the old or the new one, never less."""
        self._write(path + _TMP, "wb", data)
        os.rename(path + _TMP, path)

    def append(self, path: str, data) -> None:
        """Add `data` to the end; creates the file and its folder."""
        self._write(path, "ab", data)

    def remove(self, path: str) -> bool:
        """Remove a file; False when there was none."""
        try:
            os.remove(path)
        except OSError as error:
            if error.errno != _ENOENT:
                raise
            return False
        return True

    def rename(self, old: str, new: str) -> None:
        """Give the file another name, in place of whatever had it."""
        os.rename(old, new)

    def listdir(self, path: str) -> list:
        """Names in a folder, no order; empty when there is no such folder."""
        try:
            return os.listdir(path)
        except OSError as error:
            if error.errno != _ENOENT:
                raise
            return []

    def size(self, path: str):
        """Bytes of a file, or None."""
        try:
            return os.stat(path)[6]
        except OSError as error:
            if error.errno != _ENOENT:
                raise
            return None

    def free_bytes(self, path: str = "/") -> int:
        """What is left on the filesystem."""
        stat = os.statvfs(path)
        return stat[0] * stat[3]

    def _write(self, path: str, mode: str, data) -> None:
        try:
            with open(path, mode) as file:
                file.write(data)
        except OSError as error:
            if error.errno != _ENOENT:
                raise
            self._make_folder(path)
            with open(path, mode) as file:
                file.write(data)

    def _make_folder(self, path: str) -> None:
        """The folders above `path`, outermost first."""
        at = path.find("/", 1)
        while at > 0:
            try:
                os.mkdir(path[:at])
            except OSError as error:
                if error.errno != _EEXIST:
                    raise
            at = path.find("/", at + 1)
