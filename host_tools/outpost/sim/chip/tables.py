"""The tables of names, as large as a chip's at each moment.

MicroPython keeps names in tables of 20, 40, 80, ... rows (py/qstr.c), each twice the last. The
stand-ins have names of their own, so a program would find tables of more than a thousand rows: one
that a chip needs is there already, and the next is several times what a chip would take. So the
last table is told, in its head, that it has 10 rows: it is full then, and what the program names
goes to tables of 20, 40, 80 rows, at the moment when a chip makes them.

Where the table is not found (it is looked for by its shape, in this process's heap), what a chip
has for 620 names is held from the start, and the large one is filled up to the same place.
"""

import gc
import struct
import sys

import uctypes

_HEAD = 6  # words: previous, names before, rows, used, hashes, lengths (py/qstr.h)
_FIRST = 10  # MICROPY_ALLOC_QSTR_ENTRIES_INIT: the next has twice as many
_MOST = 100000
_ROWS = 620  # in the first five tables
_ROW = 7  # bytes of a row of a 32-bit chip: hash, length, place
_NEXT_TABLE = 4000  # bytes: nothing else that naming something takes is as large

_W = 8 if sys.maxsize > 1 << 31 else 4
_ALL = (1 << 8 * _W) - 1
held = None


class _Anything:
    pass


def as_on_a_chip(scale):
    """Before the own heap is measured; `scale` is what this VM's words are wider than the chip's.
    What has to be held instead is to be held by `hold`, after it."""
    size = _until_next_table()
    at = _table()
    if at:
        uctypes.bytearray_at(at + 2 * _W, _W)[:] = struct.pack("P", _FIRST)
        hasattr(_Anything, "~")
        return 0
    for number in range(size // (_W + 3) - 1 - _ROWS):
        hasattr(_Anything, "~%x" % number)
    return _ROWS * _ROW * scale


def hold(size):
    global held
    held = bytearray(size)


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


def _table():
    """The address of the last table's head, 0 when it is not found."""
    here = uctypes.addressof(bytearray(64)) & _ALL
    begin, end = _mapping(here)
    memory = uctypes.bytearray_at(begin, end - begin)
    step = 4 * _W  # of the collector's blocks
    found = most = 0
    for at in range((here - begin) % step, end - begin - _HEAD * _W, step):
        rows, used = struct.unpack_from("PP", memory, at + 2 * _W)
        if 0 < used <= rows < _MOST:
            _, before, _, _, hashes = struct.unpack_from("PPPPP", memory, at)
            before &= 0x7FFFFFFF  # and the mark of a sorted one
            if hashes == begin + at + (_HEAD + rows) * _W and before > most:
                found, most = begin + at, before
    return found


def _mapping(address):
    """The piece of this process's memory around `address`; empty where that is not told."""
    try:
        with open("/proc/self/maps") as lines:
            for line in lines:
                begin, end = (int(text, 16) for text in line.split(" ", 1)[0].split("-"))
                if begin <= address < end:
                    return begin, end
    except OSError:
        pass
    return address, address
