"""On the VM: a wipe over NOR flash, cut at every operation and gone on with at the next boot.

Run by tests/faults/test_wipe_powercut.py with: prog mode first last step defect. The oracle reads
the flash, not the file system: no piece of a secret is anywhere, and what the device needs to boot
is whole. Prints "VIOLATION ..." lines and at the end "RUNS n OPS n".
"""

import gc
import os
import sys

import vfs
from chip.nor import Nor, PowerCut


class _Clock:
    pass


class _Machine:
    RTC = _Clock


sys.modules["machine"] = _Machine
from loader import record  # noqa: E402
from node.parts import farewell  # noqa: E402

BASE = "/f"
BLOCKS = 40
SECRETS = (b"the private key!", b"the device secret", b"the Wi-Fi password", b"telemetry of mine")
KEPT = {
    "/outpost/boot.cbor": b"record" * 9,
    "/outpost/root.cose": b"root" * 300,
    "/outpost/board.cbor": b"board" * 10,
    "/outpost/loader/start.mpy": b"loader" * 500,
    "/a/manifest.cose": b"manifest" * 90,
    "/a/node/main.mpy": b"main" * 900,
}
MARK = BASE + farewell.MARK
RECEIPT = BASE + farewell.RECEIPT


def write(path, data):
    at = path.find("/", 1)
    while at > 0:
        try:
            os.mkdir(path[:at])
        except OSError:
            pass
        at = path.find("/", at + 1)
    with open(path + "~", "wb") as file:
        file.write(data)
    os.rename(path + "~", path)


class Sweep:
    def __init__(self, prog):
        self.nor = Nor(BLOCKS, 4096, prog)
        self.prog = prog
        vfs.VfsLfs2.mkfs(self.nor, progsize=prog)
        self.mount()
        for path in KEPT:
            write(BASE + path, KEPT[path])
        for turn in range(6):  # a life: everything has been written before, somewhere else
            write(BASE + "/outpost/secret.bin", SECRETS[1] + bytes((turn,)))
            write(BASE + "/data/id/key.der", SECRETS[0] + bytes((turn,)) * 100)
            write(BASE + "/data/id/key.next", SECRETS[0] + bytes((turn,)) * 90)
            write(BASE + "/data/device.cbor", SECRETS[2] * 9)
            write(BASE + f"/data/outbox/t{turn % 3}", SECRETS[3] * 150)
            write(BASE + "/outpost/evidence.cbor", SECRETS[3] * 20)
        self.umount()
        self.clean = self.nor.image()

    def mount(self):
        self.nor.power_on()
        vfs.mount(vfs.VfsLfs2(self.nor, progsize=self.prog), BASE)

    def umount(self):
        vfs.umount(BASE)
        gc.collect()

    def wipe(self):
        record.write(MARK, b"receipt")
        self.finish()

    def finish(self):
        for _ in farewell.erased(BASE):
            if self.nor.dead:
                raise PowerCut()
        if self.nor.dead:
            raise PowerCut()
        os.rename(MARK, RECEIPT)

    def attempt(self, act):
        """Whether it came to its end."""
        try:
            act()
            return not self.nor.dead
        except (PowerCut, OSError):
            if not self.nor.dead:
                raise
            return False

    def one(self, at, mode):
        """Cut at one operation; False when there was no such operation."""
        self.nor.restore(self.clean)
        self.mount()
        self.nor.cut(at, mode)
        whole = self.attempt(self.wipe)
        self.umount()
        self.mount()
        if not whole:
            if record.read(MARK):
                self.finish()
            elif not record.read(RECEIPT):
                self.judge_before(at, mode)
                self.umount()
                return True
        self.judge(at, mode)
        self.umount()
        return not whole

    def judge_before(self, at, mode):
        """Nothing had begun."""
        if not record.read(BASE + "/data/id/key.der"):
            print("VIOLATION", at, mode, "gone before the mark")

    def judge(self, at, mode):
        for path in KEPT:
            if record.read(BASE + path) != KEPT[path]:
                print("VIOLATION", at, mode, "damaged", path)
        if record.read(RECEIPT) != b"receipt" or record.read(MARK):
            print("VIOLATION", at, mode, "no receipt")
        if "data" in os.listdir(BASE):
            print("VIOLATION", at, mode, "data is there")
        for secret in SECRETS:
            if secret in self.nor.data:
                print("VIOLATION", at, mode, "found", secret)
        if self.nor.violations or self.nor.misaligned:
            print("VIOLATION", at, mode, "NOR rules")


def spoil(defect):
    """Defects that the oracle must see."""

    def nothing(path):
        yield

    if defect == "no-fill":
        farewell._fill = nothing
    elif defect == "no-turn":
        farewell._turn = nothing
    elif defect == "files-only":
        farewell._remove = lambda path: nothing(path)


def main():
    prog, mode, first, last, step, defect = sys.argv[1:7]
    sweep = Sweep(int(prog))
    spoil(defect)
    sweep.one(0, mode)
    ops = sweep.nor.ops
    runs = 0
    for at in range(int(first), (int(last) or ops) + 1, int(step)):
        if not sweep.one(at, mode):
            break
        runs += 1
    print("RUNS", runs, "OPS", ops)


main()
