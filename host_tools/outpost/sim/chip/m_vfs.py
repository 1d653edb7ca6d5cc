"""`vfs` without the host's file system, and without VfsRom, which no stock board has."""

from vfs import VfsFat, VfsLfs1, VfsLfs2, mount, umount  # noqa: F401
