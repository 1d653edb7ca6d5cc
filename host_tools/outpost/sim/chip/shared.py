"""The shared state as the VM sees it: `S` for 32-bit words, `wide`/`set_wide` for 64-bit ones.

Reading and writing a word does not allocate.  `attach()` is called once, before anything else in
this package.
"""

import struct

import uctypes

from . import layout, libc

_HINT = 0x20000000
events_fd = -1
S = None
RAW = None
BASE = 0


def attach(path):
    global S, RAW, BASE
    BASE = libc.map_file(path, layout.STATE_BYTES, _HINT)
    RAW = uctypes.bytearray_at(BASE, layout.STATE_BYTES)
    words = {name: layout.word_at(name) | uctypes.INT32 for name in layout.WORDS}
    S = uctypes.struct(BASE, words, uctypes.NATIVE)
    if S.magic != layout.MAGIC:
        raise ValueError("state file")


def tell(text):
    """One line to the runner; short enough to be atomic beside another process's."""
    data = text.encode() + b"\n"
    libc.write(events_fd, data, len(data))


def wide(name):
    return struct.unpack_from("<q", RAW, layout.wide_at(name))[0]


def set_wide(name, value):
    struct.pack_into("<q", RAW, layout.wide_at(name), value)


def add_i32(at, amount):
    value = RAW[at] | RAW[at + 1] << 8 | RAW[at + 2] << 16 | RAW[at + 3] << 24
    value += amount
    RAW[at] = value & 0xFF
    RAW[at + 1] = value >> 8 & 0xFF
    RAW[at + 2] = value >> 16 & 0xFF
    RAW[at + 3] = value >> 24 & 0xFF
