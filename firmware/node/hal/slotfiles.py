"""The filesystem as `core.staging` wants it: whole folders of files, and open files that take a
stream.

A file's bytes are on flash after `flush` or `close` (littlefs commits its size then), and not
before.
"""

import os

_DIRECTORY = 0x4000  # the type field of os.ilistdir


class SlotFiles:
    def open(self, path, mode):
        return open(path, mode)

    def entries(self, path):
        """[(name, is a folder)], in full before anything is changed; none when there is no such
        folder.
        """
        try:
            return [(entry[0], entry[1] == _DIRECTORY) for entry in os.ilistdir(path)]
        except OSError as error:
            if error.errno != 2:
                raise
            return []

    def size(self, path):
        """Bytes of a file, or -1."""
        try:
            return os.stat(path)[6]
        except OSError as error:
            if error.errno != 2:
                raise
            return -1

    def free(self, path):
        """Bytes left on the filesystem that has `path`."""
        stat = os.statvfs(path)
        return stat[0] * stat[3]

    def remove(self, path):
        os.remove(path)

    def rename(self, old, new):
        os.rename(old, new)

    def mkdir(self, path):
        os.mkdir(path)

    def rmdir(self, path):
        os.rmdir(path)
