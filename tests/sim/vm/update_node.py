"""A device that does nothing but update, on the VM: littlefs in a file, the loader, the real link,
HTTP over a socket.

    micropython update_node.py <flash file> <block bytes> <prog bytes> <url> <head> <folder>...

Environment: OUTPOST_NOW (Unix seconds the device believes it is, unset: it does not know),
OUTPOST_SPEED (its time runs so many times faster). Prints "@idle <bytes>" (allocated once booted),
"@loaded <bytes>" (with the updater's code), "@free <bytes>", "@report <state> <code>" for each
step, "@end <outcome> <code> <fetched> <blobs>", and "@frozen" when the head had expired.
"""

import gc
import os
import sys

for _path in sys.argv[6:]:
    sys.path.append(_path)

import asyncio  # noqa: E402

import vfs  # noqa: E402
from loader import start  # noqa: E402
from node.hal.link import Link  # noqa: E402
from node.hal.ticks import Ticks  # noqa: E402

BASE = "/flash"
SPEED = int(os.getenv("OUTPOST_SPEED") or 1)
_sleep_ms = asyncio.sleep_ms


def _sleep_faster_ms(ms):
    return _sleep_ms((ms + SPEED - 1) // SPEED)


asyncio.sleep_ms = _sleep_faster_ms


class FileFlash:
    """A block device in a file of the host: takes no heap to speak of."""

    def __init__(self, path, block):
        self._file = open(path, "r+b")  # noqa: SIM115 - for the life of the process
        self._block = block
        self._blocks = self._file.seek(0, 2) // block

    def readblocks(self, number, buf, offset=0):
        self._file.seek(number * self._block + offset)
        self._file.readinto(buf)
        return 0

    def writeblocks(self, number, buf, offset=0):
        self._file.seek(number * self._block + offset)
        self._file.write(buf)
        return 0

    def ioctl(self, request, arg):
        if request == 4:
            return self._blocks
        if request == 5:
            return self._block
        if request == 3:
            self._file.flush()
        return 0


class Machine:
    PWRON_RESET = 1

    def reset_cause(self):
        return 1

    def unique_id(self):
        return b"heap"

    def reset(self):
        raise SystemExit

    def WDT(self, timeout):  # noqa: N802
        return None


class Ports:
    def __init__(self):
        self.link = Link
        self._ticks = Ticks()
        self.tls = None
        self.forget = _forget_verifier

    def below(self, limit):
        return 0

    def unix_s(self):
        now = os.getenv("OUTPOST_NOW")
        return int(now) if now else None

    def uptime_ms(self):
        return self._ticks.uptime_ms() * SPEED


def _forget_verifier():
    for name in ("trust", "slots", "choose"):
        if sys.modules.pop("loader." + name, None):
            delattr(sys.modules["loader"], name)
    gc.collect()


def report(state, digest, code=""):
    print("@report", state, code)


def application(boot):
    asyncio.run(check(boot, sys.argv[4], sys.argv[5]))


async def check(boot, url, head):
    gc.collect()
    print("@idle", gc.mem_alloc())
    from node.core.update import Config, Update
    from node.hal.slotfiles import SlotFiles
    from node.tasks.download import Download

    gc.collect()
    print("@loaded", gc.mem_alloc())
    print("@free", gc.mem_free())
    update = Update(boot, SlotFiles(), Config(url, head), report)
    await Download(update, Ports()).run(_beat)
    if update.frozen:
        print("@frozen")
    print("@end", update.outcome, update.code or "-", update.fetched, update.blobs)


def _beat():
    pass


def main():
    sys.modules["machine"] = Machine()
    start.execute = application
    flash = FileFlash(sys.argv[1], int(sys.argv[2]))
    vfs.mount(vfs.VfsLfs2(flash, progsize=int(sys.argv[3]), readsize=32), BASE)
    paths = sys.path[:]
    start.sys = _Sys(paths)
    gc.threshold(4096)  # as boot.py does
    start.run(BASE)


class _Sys:
    """sys for the loader, whose rewriting of the path would lose the tests' folders."""

    def __init__(self, paths):
        self.path = paths
        self.implementation = sys.implementation
        self.version = sys.version


main()
