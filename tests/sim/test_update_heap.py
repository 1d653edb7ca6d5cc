"""The updater's memory, on the 32-bit VM over a real socket: <= 24 KiB above idle, for the longest
file and for the longest list of files that a loader takes.
"""

from pathlib import Path

import pytest

from tests.faults import inputs
from tests.sim.update_harness import Device, Publisher, Web

_BUDGET = 24 * 1024
_USABLE = 0.973  # of a heap; the rest is the collector's own table


def _releases(publisher, count, main_bytes):
    old = {f"node/part{i}.mpy": inputs.noise(f"part{i}", 900) for i in range(count)}
    old["node/main.mpy"] = inputs.noise("main", 5000)
    new = {path: data[:-1] + b"!" for path, data in old.items()}
    new["node/main.mpy"] = inputs.noise("main2", main_bytes)
    return old, new


@pytest.mark.parametrize(("count", "main_bytes"), [(9, 120_000), (39, 30_000)])
def test_peak_is_within_24_kib(tmp_path: Path, vm32: Path, count, main_bytes, record_property):
    keys = inputs.Keys()
    publisher = Publisher(keys)
    old, new = _releases(publisher, count, main_bytes)
    document, _ = publisher.release(old)
    _, digest = publisher.release(new)
    publisher.head(digest)
    device = Device(tmp_path, bits=32).compile()

    def check(heap):
        device.manufacture(keys.root(1), document, old)
        with Web(publisher.paths).running() as url:
            return device.check(url, heap=heap)

    roomy = check("400k")
    assert roomy.outcome == "reboot", roomy.text
    tight = check(str(int((roomy.loaded_bytes + _BUDGET) / _USABLE)))
    record_property("updater_code_bytes", roomy.loaded_bytes - roomy.idle_bytes)
    assert tight.free_bytes <= _BUDGET + 512
    assert tight.outcome == "reboot", tight.text


def test_too_little_memory_is_a_code_and_not_a_crash(tmp_path: Path, vm32: Path):
    keys = inputs.Keys()
    publisher = Publisher(keys)
    old, new = _releases(publisher, 20, 9000)
    document, _ = publisher.release(old)
    _, digest = publisher.release(new)
    publisher.head(digest)
    device = Device(tmp_path, bits=32).compile()
    device.manufacture(keys.root(1), document, old)
    # from a level that works down to the least the code itself runs in: each ends with a verdict
    ends = set()
    with Web(publisher.paths).running() as url:
        roomy = device.check(url)
        for spare in range(21_000, 9_000, -1500):
            device.manufacture(keys.root(1), document, old)
            tight = device.check(url, heap=str(int((roomy.loaded_bytes + spare) / _USABLE)))
            ends.add((tight.outcome, tight.code))
            assert ends <= {("reboot", ""), ("failed", "memory")}, (spare, tight.text)
            if len(ends) == 2:
                break
    assert len(ends) == 2, ends
