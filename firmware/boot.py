# Before anything is imported: no file on the flash may stand in for a builtin module.
import sys

sys.path[:] = [".frozen", "/outpost"]

import gc  # noqa: E402

# A parsed release is hundreds of small objects. With garbage left between them until the heap is
# full they end up all over it, and a heap that could hold them three times over is "full".
gc.threshold(4096)
