"""A device that can be cut off at any flash operation: NOR flash, littlefs, the real loader, and
an application that updates.

One `Life` is what happens from a given flash image on: boots, resets and power cuts, until the
application has nothing left to do. The chip is new at each boot: a fresh block device over the
same bytes, a fresh filesystem object, fresh loader and updater objects. The one before stays dead
for ever, so that a forgotten file object, whose finaliser may run much later, cannot write to the
flash of the boots after it.
"""

# ruff: noqa: UP031 - MicroPython

import gc
import sys

import vfs
from nor import Nor, PowerCut

BASE = "/flash"
MAX_BOOTS = 40


class Reset(BaseException):
    """machine.reset(), or the watchdog."""

    def __init__(self, kind):
        super().__init__(kind)
        self.kind = kind


class Finished(BaseException):
    """The application has nothing left to do."""


class Wrong(BaseException):
    """The oracle's verdict: `kind` is brick, mixed or rule."""

    def __init__(self, kind, detail):
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail


class Flash(Nor):
    """NOR flash whose bytes outlive the object."""

    def __init__(self, blocks, block, prog):
        super().__init__(blocks, block, prog)
        self.view = memoryview(self.data)

    def readblocks(self, block_num, buf, offset=0):
        """As Nor's, only faster: littlefs reads thousands of times in a life."""
        if self.dead:
            return -5
        start = block_num * 4096 + offset
        buf[:] = self.view[start : start + len(buf)]
        return 0

    def next_boot(self):
        """The same part for the next boot; this object is dead from now on."""
        self.dead = True
        twin = Flash(0, self.block, self.prog)
        twin.blocks = self.blocks
        twin.data = self.data
        twin.view = self.view
        twin.wear = self.wear
        twin.ops = self.ops
        twin.violations = self.violations
        twin.misaligned = self.misaligned
        return twin


class Machine:
    """The chip's `machine` module, as far as the loader asks. RP2 cannot tell a reset from its
    watchdog.
    """

    PWRON_RESET = 1
    WDT_RESET = 3

    def __init__(self, port):
        self._hard = 3 if port == "rp2" else 2
        if port != "rp2":
            self.HARD_RESET = 2
            self.DEEPSLEEP_RESET = 4
            self.SOFT_RESET = 5
        self._cause = 1

    def started_by(self, kind):
        self._cause = {"power": 1, "watchdog": 3, "reset": self._hard}[kind]

    def reset_cause(self):
        return self._cause

    def unique_id(self):
        return b"sweep"

    def reset(self):
        raise Reset("reset")

    def WDT(self, timeout):  # noqa: N802 - the chip's own name
        return self

    def feed(self):
        pass


def mount(flash):
    """The filesystem, mounted as the board's stock firmware does it."""
    vfs.mount(vfs.VfsLfs2(flash, progsize=flash.prog, readsize=32), BASE)


def unmount():
    try:
        vfs.umount(BASE)
    except OSError:
        pass


def format_flash(blocks, prog, extra_blocks=0):
    """A part whose first `blocks` hold a filesystem; behind them is what else the board has."""
    flash = Flash(blocks + extra_blocks, 4096, prog)
    flash.blocks = blocks
    vfs.VfsLfs2.mkfs(flash, progsize=prog, readsize=32)
    return flash


class Power:
    """The supply: `cuts` are (operations from the one before, mode); counts what was done and
    spent.
    """

    def __init__(self, flash, cuts):
        self.flash = flash
        self._cuts = list(cuts)
        self._start = flash.ops
        self.cuts_done = 0

    def switch_on(self):
        """A new boot, with the next cut armed."""
        self.flash = self.flash.next_boot()
        if self._cuts:
            at, mode = self._cuts[0]
            left = self._start + at - self.flash.ops
            if left > 0:
                self.flash.cut(left, mode)
        return self.flash

    @property
    def is_cut(self):
        return self.flash.dead

    def was_cut(self):
        self._cuts.pop(0)
        self._start = self.flash.ops
        self.cuts_done += 1


def live(flash, cuts, machine, boot_once):
    """Run boots until Finished; (boots, power). Raises Wrong. `boot_once(power)` never returns."""
    sys.modules["machine"] = machine
    power = Power(flash, cuts)
    kind = "power"
    for boots in range(1, MAX_BOOTS + 1):
        machine.started_by(kind)
        kind = _one_boot(power, boot_once)
        if kind == "finished":
            return boots, power
        if kind == "power":
            power.was_cut()
    raise Wrong("brick", "does not come to rest")


def _one_boot(power, boot_once):
    """Why it ended: power, reset, watchdog or finished."""
    gc.collect()
    flash = power.switch_on()
    path = sys.path[:]
    try:
        mount(flash)
        boot_once(power)
        end = "returned"
    except Reset as reset:
        end = reset.kind
    except Finished:
        end = "finished"
    except Wrong as wrong:
        end = wrong
    except PowerCut:
        end = "power"
    except Exception as error:  # noqa: BLE001 - whatever the loader lets out, the device is stuck
        end = error
    sys.path[:] = path
    # whatever was raised: with the power gone, nothing that was seen afterwards counts
    cut = flash.dead
    flash.dead = True
    unmount()
    if cut:
        return "power"
    if isinstance(end, Wrong):
        raise end
    if not isinstance(end, str):
        sys.print_exception(end)
        raise Wrong("brick", "raised " + repr(end))
    if end == "returned":
        raise Wrong("brick", "the loader gave up")
    return end
