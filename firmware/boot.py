# Before anything is imported from flash: no file there may stand in for a builtin module. Noting
# them also saves each `import struct` its six lookups on flash, 10 KiB read in vain: MicroPython
# asks the path first, every time. Without network and socket, which start the radio's driver.
import sys

sys.path[:] = [".frozen"]
_names = "array binascii collections errno hashlib io machine os select struct sys time"
for _name in _names.split():
    sys.modules[_name] = __import__(_name)
sys.path.append("/outpost")

import gc  # noqa: E402

import machine  # noqa: E402

# A parsed release is hundreds of small objects. With garbage left between them until the heap is
# full they end up all over it, and a heap that could hold them three times over is "full". A wake
# from deep sleep parses none, and need not collect at all.
if machine.reset_cause() != getattr(machine, "DEEPSLEEP_RESET", None):
    gc.threshold(4096)
