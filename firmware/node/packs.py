"""Modules out of packs: a file system for imports, over a few files that hold many modules.

A file of its own costs a module a block of flash (4096 bytes, for 1400 on average), its folder
two, and the release a line in its list. So a slot holds packs, `node/<group>.pack`, which
`outpost.build.pack` makes: `u8 count`, `count` times `{u24 key, u24 offset}` (little-endian), and
the modules as they are. The key is three bytes of the CRC-32 of the path, "/core/log.mpy"; the
offset of a folder is 0. The build refuses paths whose keys would be taken for another's.

Invariant: a pack that is mounted is of the running slot, which nothing writes to.
"""

import binascii
import os
import sys

_AT = "/node"
_ROW = 7  # in memory: key, number of the pack, offset
_FOLDER = (0x4000, 0, 0, 0, 0, 0, 0, 0, 0, 0)
_FILE = (0x8000, 0, 0, 0, 0, 0, 0, 0, 0, 0)


class Packs:
    """What `vfs.mount` and the importer ask of a file system: stat and open."""

    def __init__(self, paths: list, index: bytes) -> None:
        self._paths = paths
        self._index = index

    def mount(self, readonly: bool, mkfs: bool) -> None:
        """Part of the protocol; there is nothing to do."""

    def umount(self) -> None:
        """Part of the protocol; there is nothing to do."""

    def stat(self, path: str) -> tuple:
        return _FILE if self._row(path)[4:] != b"\0\0\0" else _FOLDER

    def open(self, path: str, mode: str):
        """The pack, at the module's place: whoever imports knows where a module ends."""
        row = self._row(path)
        file = open(self._paths[row[3]], "rb")  # noqa: SIM115  the importer closes it
        file.seek(row[4] | row[5] << 8 | row[6] << 16)
        return file

    def _row(self, path: str) -> bytes:
        key = key_of(path)
        at = self._index.find(key)
        while at % _ROW:  # -1 as well
            if at < 0:
                raise OSError(2)  # ENOENT
            at = self._index.find(key, at + 1)
        return self._index[at : at + _ROW]


def key_of(path: str) -> bytes:
    return (binascii.crc32(path.encode()) & 0xFFFFFF).to_bytes(3, "little")


def mount() -> None:
    """Let `node` be imported from the packs beside this file; nothing changes without packs."""
    node = sys.modules["node"]
    folder = node.__path__
    if folder == _AT:
        return
    names = sorted(name for name in os.listdir(folder) if name.endswith(".pack"))
    if names:
        import vfs

        paths = ["%s/%s" % (folder, name) for name in names]
        vfs.mount(Packs(paths, _index(paths)), _AT)
        node.__path__ = _AT


def _index(paths: list) -> bytes:
    rows = []
    for number, path in enumerate(paths):
        with open(path, "rb") as file:
            for _ in range(file.read(1)[0]):
                row = file.read(_ROW - 1)
                rows.append(row[:3] + bytes((number,)) + row[3:])
    return b"".join(rows)
