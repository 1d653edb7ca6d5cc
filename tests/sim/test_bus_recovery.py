"""node.hal.i2c on a board whose part holds SDA: nine clocks free the bus, fewer do not."""

from pathlib import Path

import pytest
from outpost.boards import load_board
from outpost.build.configure import board_map
from outpost.sim import Wiring

pytestmark = pytest.mark.vm
FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
FILES = ("node/hal/board.py", "node/hal/i2c.py", "loader/cbor.py", "loader/layout.py")
AIR = Wiring(devices=[{"model": "bme280", "name": "air", "bus": "i2c0", "address": 0x76}])
PROGRAM = """
import sys, time
sys.path[:] = ['.frozen', '/']
from node.hal import i2c
from node.hal.board import Board
bus = Board(%r).bus('i2c0')
def look():
    found = bytearray(1)
    try:
        bus.readfrom_mem_into(0x76, 0xD0, found)
        return 'id %%x' %% found[0]
    except OSError as error:
        return 'no'
print('first', look())
time.sleep_ms(1500)
print('again', look())
enough, i2c._CLOCKS = i2c._CLOCKS, 8
print('eight', bus.recover(), look())
i2c._CLOCKS = enough
print('nine', bus.recover(), look())
print('nothing held', bus.recover(), look(), bus.recoveries)
print('done')
"""


@pytest.mark.parametrize("name", ["esp32_generic", "rpi_pico_w"])
def test_nine_clocks_and_a_stop(boards, name):
    files = {"/" + path: (FIRMWARE / path).read_bytes() for path in FILES}
    program = PROGRAM % board_map(load_board(name))
    board = boards(name, program, files=files, wiring=AIR, start=False)
    board.world["air.fault"] = 4  # hangs in the middle of the next byte
    board.start()
    board.wait_for("line:first no")
    board.world["air.fault"] = 0
    board.wait_for("line:done")
    said = [line for line in board.lines if line.startswith(("again", "eight", "nine", "nothing"))]
    assert said == [
        "again no",
        "eight False no",
        "nine True id 60",
        "nothing held True id 60 3",
    ]
