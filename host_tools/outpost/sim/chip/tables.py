"""The tables of names, as large as a chip's would be.

MicroPython keeps names in tables of 20, 40, 80, ... entries (py/qstr.c): 620 in five of them, then
640 more, all at once. The stand-ins have names of their own, which fill some of these before a
program runs; the next table would be far larger than a chip's at that point, or one that a chip
needs would be there already. So the one in use is filled up to where the next is due after as many
names of the program's as a chip has room for, and what a chip's tables take is held instead.
"""

import gc

_STEPS = (620, 1260)  # names in five tables, and in six
_ENTRY = 7  # bytes of a row: hash, length, place (32-bit)
_SMALL = 150000  # bytes of heap: a program for it is made to do with five tables
_NEXT_TABLE = 4000  # bytes: nothing else that naming something takes is as large

held = None


class _Anything:
    pass


def fill():
    """Name things until the right number of rows is left; before the own heap is measured."""
    size = _until_next_table()
    rows = size // _row_bytes()
    for number in range(rows - 1 - _room()):
        hasattr(_Anything, "~%x" % number)


def hold(scale):
    """What a chip's tables take: part of the program's heap."""
    global held
    held = bytearray(_room() * _ENTRY * scale)


def _room():
    return _STEPS[gc.mem_free() > _SMALL * (2 if _row_bytes() > 8 else 1)]


def _row_bytes():
    import sys

    return 11 if sys.maxsize > 1 << 31 else 7


def _until_next_table():
    """Name things until a table is made; its size in bytes."""
    number = 0
    while True:
        before = gc.mem_alloc()
        hasattr(_Anything, "^%x" % number)
        grown = gc.mem_alloc() - before
        if grown > _NEXT_TABLE:
            return grown
        number += 1
