"""`errno` with the numbers of the chip's C library where they differ from Linux's."""

from errno import *  # noqa: F403

from . import power

# newlib's sys/errno.h, which the esp32 port uses unchanged
_NEWLIB = {
    "EINPROGRESS": 119,
    "ETIMEDOUT": 116,
    "ENOTCONN": 128,
    "EHOSTUNREACH": 118,
    "ECONNABORTED": 113,
    "EADDRINUSE": 112,
    "EALREADY": 120,
    "ENOBUFS": 105,
}
_LINUX = {115: 119, 110: 116, 107: 128, 113: 118, 103: 113, 98: 112, 114: 120}


def power_up():
    if power.board["port"] == "esp32":
        globals().update(_NEWLIB)


def native(number):
    """The chip's number for a Linux one."""
    return _LINUX.get(number, number) if power.board["port"] == "esp32" else number
