"""Boots a folder as a device: boot.py's path, a machine that records, then loader.start.run.

argv: base folder, chip ("rp2" or "esp32"), machine's reset cause. Prints what happened, one fact
per line; the application's own prints come between.
"""

import gc
import sys

BASE, CHIP, CAUSE = sys.argv[1:4]
FIRMWARE = sys.path[-1]


class Reset(BaseException):
    """What machine.reset() does here."""


class Watchdog:
    def __init__(self, timeout):
        print("watchdog", timeout)
        self.fed = 0

    def feed(self):
        self.fed += 1


class Registers:
    def __setitem__(self, address, value):
        print("register", hex(address), hex(value))


class Time:
    def __init__(self):
        self.slept_s = 0

    def sleep(self, seconds):
        self.slept_s += seconds


class Machine:
    mem32 = Registers()
    WDT = Watchdog
    PWRON_RESET = 1
    WDT_RESET = 3

    def reset_cause(self):
        return int(CAUSE)

    def unique_id(self):
        return b"12345678"

    def reset(self):
        raise Reset


class Esp32(Machine):
    HARD_RESET = 2
    DEEPSLEEP_RESET = 4
    SOFT_RESET = 5


sys.modules["machine"] = Machine() if CHIP == "rp2" else Esp32()
sys.path[:] = [".frozen", FIRMWARE]
import loader.start  # noqa: E402

loader.start.time = Time()
try:
    loader.start.run(BASE)
    print("safe", loader.start.safe is not None)
except Reset:
    print("reset")
except KeyboardInterrupt:
    print("interrupted")
sys.modules.pop("node.main", None)  # a reset empties the memory; an application may have filled it
gc.collect()
if loader.start.time.slept_s:
    print("rested", loader.start.time.slept_s)
print("path", " ".join(sys.path).replace(BASE, ""))
