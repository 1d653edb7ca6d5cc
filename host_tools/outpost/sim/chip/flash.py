"""The flash: block devices over mapped files with NOR rules and power cuts at an operation.

Owns: programs only clear bits, erases set a block to 0xFF, `flash_ops` counts both over all parts
of the chip, and at `flash_cut_at` the process ends in the middle of the operation, which no code
under test can catch.  The mapped file keeps what was done until then, exactly.

Nothing allocates on the normal path: finalisers close files with the heap locked, and a chip's C
driver does not allocate either.
"""

from . import layout, libc, shared

MODELLED = 2  # as in clock
_SPACE = 0x21000000
_ONES_AT = 0x20800000
_ONES_BYTES = 65536
_next_hint = _SPACE
_chip = {"erase_us": 0, "program_us": 0}
_load_us = 0
_default_mhz = 0
_owed = [0]  # microseconds of work that are not yet a millisecond
_advance = None

# A wake reads flash 8,000 times, 64 bytes each, so this is compiled to machine code where the VM
# can do that: four times as fast. A chip's driver takes no heap, so neither does this: a closure
# over more than two variables would, for each call, and the collector counts what was taken.
_READER = """
@native
def reader(part):
    def readblocks(block_num, buf, offset=0):
        address, limit, block, load_us, default_mhz, owed, advance, state = part
        start = block_num * block + offset
        size = len(buf)
        if start < 0 or start + size > limit:
            return -22
        memcpy(buf, address + start, size)
        if load_us:
            mhz = state.freq_mhz or default_mhz
            us = owed[0] + (load_us * size >> 10) * default_mhz // mhz
            if us >= 1000:
                owed[0] = us % 1000
                advance(us // 1000)
            else:
                owed[0] = us
        return 0

    return readblocks
"""


def _compile_reader():
    found = {"memcpy": libc.memcpy}
    try:
        exec(_READER.replace("native", "micropython.native"), found)
    except (SyntaxError, NotImplementedError):  # no machine code for this host
        exec(_READER.replace("@native", ""), found)
    return found["reader"]


_reader = _compile_reader()


def power_up(erase_us, program_us, advance, work=(0, 1)):
    """`advance(ms)` charges the time that operations take to the virtual clock; in modelled time
    a KiB that is read costs what the chip's CPU needs to hash or to import it: `work` is that
    in microseconds, and the clock (MHz) at which it is so."""
    global _advance, _load_us, _default_mhz
    load_us_per_kib, _default_mhz = work
    _load_us = load_us_per_kib if shared.S.fast == MODELLED else 0
    libc.map_memory(_ONES_BYTES, _ONES_AT)
    libc.memset(_ONES_AT, 0xFF, _ONES_BYTES)
    _chip["erase_us"] = erase_us
    _chip["program_us"] = program_us
    _advance = advance


class Nor:
    """One range of flash; `erase_block` is also the unit in which littlefs counts."""

    def __init__(self, path, size, erase_block=4096, prog=256):
        global _next_hint
        self.address = libc.map_file(path, size, _next_hint)
        _next_hint += (size + 0xFFFF) & ~0xFFFF
        self.size = size
        self.block = erase_block
        self.prog = prog
        place = self.address, size, erase_block
        work = _load_us, _default_mhz, _owed, _advance
        self.readblocks = _reader(place + work + (shared.S,))

    def writeblocks(self, block_num, buf, offset=None):
        start = block_num * self.block
        size = len(buf)
        if offset is None:  # the simple protocol erases by itself
            if start < 0 or start + size > self.size:
                return -22
            for index in range(size // self.block):
                self.erase(block_num + index)
        else:
            start += offset
            if start < 0 or start + size > self.size:
                return -22
        self.program(start, buf, size)
        return 0

    def ioctl(self, request, arg):
        if request == 4:
            return self.size // self.block
        if request == 5:
            return self.block
        if request == 6:
            if arg < 0 or (arg + 1) * self.block > self.size:
                return -22
            self.erase(arg)
        return 0

    def program(self, start, buf, size):
        cut = _next_operation()
        if start % self.prog or size % self.prog:
            shared.S.flash_misaligned += 1
        done = size
        if cut >= 0 and cut != layout.CUT_AFTER:
            done = 0 if cut == layout.CUT_LOST else size // 2
        _clear_bits(self.address + start, buf, done)
        if cut == layout.CUT_GARBAGE:
            _clear_bits(self.address + start + done, _noise(size - done), size - done)
        if cut >= 0:
            libc.exit_now(layout.EXIT_POWER_CUT)
        state = shared.S
        state.flash_program_bytes += size
        while state.flash_program_bytes >= 1024:
            state.flash_program_bytes -= 1024
            state.flash_program_kib += 1
        _spend(_chip["program_us"] * (size + 255) // 256)

    def erase(self, index):
        cut = _next_operation()
        shared.S.flash_erases += 1
        address = self.address + index * self.block
        done = self.block
        if cut >= 0 and cut != layout.CUT_AFTER:
            done = 0 if cut == layout.CUT_LOST else self.block // 2
        libc.memset(address, 0xFF, done)
        if cut == layout.CUT_GARBAGE:
            libc.memcpy(address + done, _noise(self.block - done), self.block - done)
        if cut >= 0:
            libc.exit_now(layout.EXIT_POWER_CUT)
        _spend(_chip["erase_us"])


def _next_operation():
    """Count one; -1 to go on, else the way in which the power goes."""
    state = shared.S
    state.flash_ops += 1
    if state.flash_cut_at and state.flash_ops >= state.flash_cut_at:
        state.flash_cut_at = 0
        return state.flash_cut_mode
    return -1


def _spend(us):
    us += _owed[0]
    _owed[0] = us % 1000
    if us >= 1000:
        _advance(us // 1000)


def _clear_bits(address, buf, size):
    if not size:
        return
    if libc.memcmp(address, _ONES_AT, size) == 0:
        libc.memcpy(address, buf, size)
        return
    old = bytearray(size)
    libc.memcpy(old, address, size)
    illegal = False
    for index in range(size):
        both = old[index] & buf[index]
        illegal = illegal or both != buf[index]
        old[index] = both
    if illegal:
        shared.S.flash_violations += 1
    libc.memcpy(address, old, size)


def _noise(size):
    out = bytearray(size)
    value = shared.S.flash_ops * 40503 & 0xFFFFFF
    for index in range(size):
        value = (value * 57 + 12345) & 0xFFFFFF
        out[index] = value >> 11 & 0xFF
    return out
