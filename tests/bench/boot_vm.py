"""Runs on the VM: how long the loader takes to verify and choose a slot. argv: base, batches.

Prints one line per figure: name, milliseconds or bytes.
"""

import gc
import hashlib
import sys
import time

from loader import record, slots, start, trust
from loader.handover import Boot

BASE = sys.argv[1]
BATCHES = int(sys.argv[2])
_BATCH = 100


def best_ms(call):
    """Milliseconds of this process (others may run), of the best of several batches: clock() is
    coarse.
    """
    best = None
    for _ in range(BATCHES):
        gc.collect()
        begun = time.clock()
        for _ in range(_BATCH):
            call()
        took = time.clock() - begun
        best = took if best is None else min(best, took)
    return best * 1000 / _BATCH


def hash_all(block, count):
    """SHA-256 and nothing else, of as many bytes as a cold boot hashes."""
    h = hashlib.sha256()
    for _ in range(count):
        h.update(block)
    h.digest()


def boot(cause):
    made = Boot(BASE, start.device_facts(BASE), cause, "")
    if not made.select():
        raise ValueError(made.evidence())
    return made


def times():
    """The parts of a boot, and the whole."""
    root = boot("power_on").root  # and seals the slot
    document = record.read(BASE + "/a/manifest.cose")
    payload, signatures = trust.unwrap("release", document)
    key = root["keys"][root["roles"]["release"][1][0]]
    digest = trust.sha256(b"any")
    release = trust.parse_release(payload)
    print("signature", best_ms(lambda: trust.pss_verify(key, digest, signatures[0][2])))
    print("manifest", best_ms(lambda: trust.parse_release(payload)))
    print("files", best_ms(lambda: slots.check_files(BASE + "/a", release, bytes(32))))
    sizes = [size for _, size, _ in release["files"]]
    block = bytes(2048)
    print("bytes", sum(sizes))
    print("document", len(document))
    print("sha", best_ms(lambda: hash_all(block, sum(sizes) // len(block))))
    print("cold", best_ms(lambda: boot("power_on")))
    print("wake", best_ms(lambda: boot("deep_sleep")))


def heap():
    """What a boot takes from the heap, and what it keeps."""
    gc.collect()
    before = gc.mem_alloc()
    gc.disable()
    boot("power_on")
    print("garbage", gc.mem_alloc() - before)
    gc.enable()
    gc.collect()
    print("kept", gc.mem_alloc() - before)


times()
heap()
