"""`sys` of the port: the VM's own lists, another platform and machine name, and the version that
the image in the running partition carries, if it is MicroPython's.
"""

import sys as _host
from sys import (  # noqa: F401
    argv,
    byteorder,
    exit,
    maxsize,
    modules,
    path,
    print_exception,
    stderr,
    stdin,
    stdout,
    version,
    version_info,
)

from . import ota, power

ps1 = ">>> "
ps2 = "... "


class _Implementation:
    def __getattr__(self, name):
        if name == "_machine":
            return power.board["machine"]
        if name == "_build":
            return power.board["name"]
        return getattr(_host.implementation, name)

    def __getitem__(self, index):
        return _host.implementation[index]


implementation = _Implementation()
platform = ""


def power_up():
    global platform
    platform = power.board["port"]


def runtime_chosen():
    """The bootloader has chosen the partition that runs."""
    global version
    version = ota.version() or version
