"""NOR flash in memory, for fault sweeps inside one interpreter run (MicroPython or CPython).

Owns the rules of the part: a program only clears bits, an erase sets one block to 0xFF, and the
power may go before, inside or after any of the two.  `Nor` is a block device in the extended
protocol, so VfsLfs2 mounts it.

Invariants:
- `ops` counts programs and erases, never reads, so the n of a sweep is reproducible.
- A program that would turn a 0 into a 1 stores the AND, as the silicon does, and is counted in
  `violations`; a sweep asserts that the count stays 0.
- The cut raises `PowerCut`, a BaseException, so that no `except Exception` in the code under test
  survives it.  From then on the part is dead until `power_on()`: every call answers EIO without
  allocating, because a file's finaliser calls in here with the heap locked.  (`with open()` turns
  the cut into an OSError from `__exit__`: a harness asks `dead`, not the exception's type.)
"""

_EIO = -5
_FF = b"\xff"

LOST = "lost"  # the operation did not happen
TORN = "torn"  # its first half happened
AFTER = "after"  # it happened, then the power went
GARBAGE = "garbage"  # its first half happened, the rest reads as noise
MODES = (LOST, TORN, AFTER, GARBAGE)


class PowerCut(BaseException):
    """The supply went away: nothing in the code under test may catch this."""


class Nor:
    """`size_blocks` erase blocks of `block` bytes, programmed in units of `prog`."""

    def __init__(self, size_blocks, block=4096, prog=256):
        self.block = block
        self.prog = prog
        self.blocks = size_blocks
        self.data = bytearray(_FF * (block * size_blocks))
        self.wear = [0] * size_blocks
        self.ops = 0
        self.bytes_programmed = 0
        self.violations = 0
        self.misaligned = 0
        self.dead = False
        self._cut_at = 0
        self._mode = LOST

    # -- for the harness ------------------------------------------------------------------------

    def cut(self, at, mode=LOST):
        """Arm a cut at the `at`-th operation from now (1 = the next one); 0 disarms."""
        if mode not in MODES:
            raise ValueError(mode)
        self._cut_at = self.ops + at if at else 0
        self._mode = mode

    def power_on(self):
        """The supply is back: same contents, nothing armed."""
        self.dead = False
        self._cut_at = 0

    def image(self):
        """The contents as bytes."""
        return bytes(self.data)

    def restore(self, image):
        """Put back contents taken with `image()`, switch on, and count from zero."""
        if len(image) != len(self.data):
            raise ValueError("image has another size")
        self.data[:] = image
        self.ops = 0
        self.bytes_programmed = 0
        self.violations = 0
        self.misaligned = 0
        for index in range(self.blocks):
            self.wear[index] = 0
        self.power_on()

    # -- block device, extended protocol (vfs_lfsx.c) -------------------------------------------

    def readblocks(self, block_num, buf, offset=0):
        if self.dead:
            return _EIO
        start = block_num * self.block + offset
        buf[:] = memoryview(self.data)[start : start + len(buf)]
        return 0

    def writeblocks(self, block_num, buf, offset=None):
        if self.dead:
            return _EIO
        if offset is None:  # the simple protocol erases by itself
            for index in range(len(buf) // self.block):
                self._erase(block_num + index)
            offset = 0
        self._program(block_num * self.block + offset, buf)
        return 0

    def ioctl(self, request, arg):
        if self.dead:
            return _EIO
        if request == 4:
            return self.blocks
        if request == 5:
            return self.block
        if request == 6:
            self._erase(arg)
        return 0

    # -- the two operations ---------------------------------------------------------------------

    def _program(self, start, buf):
        size = len(buf)
        if start % self.prog or size % self.prog:
            self.misaligned += 1
        cut = self._due()
        if cut == LOST:
            self._die()
        done = size if cut in (None, AFTER) else size // 2
        self._clear_bits(start, memoryview(buf)[:done])
        if cut == GARBAGE:
            self._clear_bits(start + done, _noise(self.ops, size - done))
        self.bytes_programmed += done
        if cut:
            self._die()

    def _erase(self, index):
        cut = self._due()
        if cut == LOST:
            self._die()
        start = index * self.block
        done = self.block if cut in (None, AFTER) else self.block // 2
        view = memoryview(self.data)
        view[start : start + done] = _FF * done
        if cut == GARBAGE:
            view[start + done : start + self.block] = _noise(self.ops, self.block - done)
        self.wear[index] += 1
        if cut:
            self._die()

    def _clear_bits(self, start, new):
        size = len(new)
        here = memoryview(self.data)[start : start + size]
        if bytes(here) == _FF * size:
            here[:] = new
            return
        # Big integers AND a page at once; a loop over bytes made sweeps ten times slower.
        old_bits = int.from_bytes(bytes(here), "little")
        new_bits = int.from_bytes(bytes(new), "little")
        both = old_bits & new_bits
        if both != new_bits:
            self.violations += 1
        here[:] = both.to_bytes(size, "little")

    def _due(self):
        self.ops += 1
        return self._mode if self.ops == self._cut_at else None

    def _die(self):
        self.dead = True
        raise PowerCut(self.ops)


def _noise(seed, size):
    """Reproducible noise: the same operation torn twice leaves the same bytes."""
    out = bytearray(size)
    value = seed * 2654435761 & 0xFFFFFF
    for index in range(size):
        value = (value * 1103 + 12345) & 0xFFFFFF
        out[index] = value >> 11 & 0xFF
    return out
