"""`os` as a port has it: the file system, uname, urandom; nothing of the host."""

import sys as _sys
from os import (  # noqa: F401
    chdir,
    getcwd,
    ilistdir,
    listdir,
    mkdir,
    remove,
    rename,
    rmdir,
    stat,
    statvfs,
    unlink,
    urandom,
)

import vfs as _vfs

from . import power
from .m_vfs import VfsFat, VfsLfs1, VfsLfs2  # noqa: F401

sep = "/"
mount = _vfs.mount
umount = _vfs.umount


def uname():
    port = power.board["port"]
    release = ".".join(str(n) for n in _sys.implementation[1][:3])
    return (port, port, release, "v" + release, power.board["machine"])


def sync():
    pass


def dupterm(stream, index=0):
    return None
