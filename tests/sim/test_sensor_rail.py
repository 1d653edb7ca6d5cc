"""A sensor's switched supply on a board: the meter charges it for the reading and no longer."""

from pathlib import Path

import pytest
from outpost.boards import load_board
from outpost.build.configure import board_map
from outpost.sim import Wiring

pytestmark = pytest.mark.vm
NODE = Path(__file__).resolve().parents[2] / "firmware"
FILES = (
    *(f"node/core/{name}.py" for name in ("quality", "config", "errors", "pack", "record")),
    *(f"node/drivers/{name}.py" for name in ("bosch", "sensor", "bme280")),
    *(f"node/hal/{name}.py" for name in ("board", "i2c", "rail")),
    *(f"node/tasks/{name}.py" for name in ("sense", "stations", "switched")),
    "loader/cbor.py",
    "loader/layout.py",
)
PROGRAM = """
import asyncio, sys, time
sys.path[:] = ['.frozen', '/']
from node.core.config import ProductConfig
from node.hal.board import Board
from node.tasks.sense import SenseTask
from node.tasks.stations import open_stations

class Sampler:
    def reading(self, index, out, codes, now_ms): print('read', out[0], list(codes))
    def failed(self, index, code, now_ms): print('failed', code)
    def finish(self, now_ms): return True
class Log:
    def warning(self, text): print(text)

wiring = Board(%r)
options = {'rail': 'gpio21', 'warm_ms': 200}
sensor = {'name': 'air', 'driver': 'bme280', 'bus': 'i2c0', 'address': 0x76, 'options': options}
product = ProductConfig({'product': 'x', 'sensors': [sensor]})
stations = open_stations(product, {'': wiring, 'i2c0': wiring.bus('i2c0')})
task = SenseTask(product, stations, Sampler(), None, (time.ticks_ms, lambda: None, Log()))
for _ in range(3):
    asyncio.run(task.round())
    time.sleep_ms(2000)
print('done')
time.sleep_ms(5000)
"""


@pytest.mark.parametrize("name", ["esp32_generic", "rpi_pico_w"])
def test_on_for_the_reading_only(boards, name):
    files = {"/" + path: (NODE / path).read_bytes() for path in FILES}
    air = {"model": "bme280", "name": "air", "bus": "i2c0", "address": 0x76}
    board = boards(
        name, PROGRAM % board_map(load_board(name)), files=files, time="fast",
        wiring=Wiring(devices=[air], rails=((21, 700),)),
    )  # fmt: skip
    board.wait_for("line:done", timeout=15)
    board.stop()
    assert [line for line in board.lines if "fail" in line or "sensor" in line] == []
    assert len([line for line in board.lines if line.startswith("read")]) == 3
    assert 3 * 200 <= board.meter.time_ms["rail_0"] < 3 * 400
