"""The whole Connection against mosquitto with the heap locked: publish, socket, TLS, PUBACK."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.bench.mqtt import Bench
from tests.sim.mqtt_harness import make_pki


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder: Path = tmp_path_factory.mktemp("bench")
    return Bench(folder, make_pki(folder), "", 1)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("qos", [0, 1])
def test_nothing_is_allocated_per_publish(bench: Bench, tls: bool, qos: int) -> None:
    with bench.broker(tls) as broker:
        used, locked = bench.need("ours", "heap", broker.port, tls, qos=qos, count=200)
    assert used == 0
    assert locked == 1, "an allocation was tried with the heap locked"


EMPTY = """
import gc, sys
sys.path[:] = [".frozen", {firmware!r}]
from node.core.mqtt.few import Few
gc.collect()
before = gc.mem_alloc()
few = Few(8, 2048)
few.open = few.moved = True
gc.collect()
print(gc.mem_alloc() - before)
"""


def test_few_reserves_nothing(vm32: Path, root: Path) -> None:
    program = EMPTY.format(firmware=str(root / "firmware"))
    run = subprocess.run([vm32, "-c", program], capture_output=True, text=True, timeout=30)
    assert 0 < int(run.stdout) <= 150, run.stderr
