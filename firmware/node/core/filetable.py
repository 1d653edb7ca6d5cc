"""The file list of a release in three pieces of memory instead of hundreds.

A parsed release of forty files is some two hundred objects strewn over the heap; kept through a
download they leave no room in one piece for the inflater's window. Here they are one bytes, one
array and one string.
"""

from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class FileTable:
    """`table[i]` is (path, size, SHA-256); made anew at each access."""

    def __init__(self, files: "list[Any]") -> None:
        self._digests = b"".join([entry[2] for entry in files])
        self._sizes: "Any" = array("L", [entry[1] for entry in files])
        self._paths = "\n".join([entry[0] for entry in files])
        self._starts = array("H", [0] * len(files))
        at = 0
        for i, entry in enumerate(files):
            self._starts[i] = at
            at += len(entry[0]) + 1

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, i: int) -> "tuple[str, int, bytes]":
        return self.path(i), self._sizes[i], self.digest(i)

    def path(self, i: int) -> str:
        start = self._starts[i]
        if i + 1 < len(self._starts):
            return self._paths[start : self._starts[i + 1] - 1]
        return self._paths[start:]

    def size(self, i: int) -> int:
        return int(self._sizes[i])

    def digest(self, i: int) -> bytes:
        return self._digests[32 * i : 32 * i + 32]
