"""Drivers of parts on pins of their own, over the real hal and the simulated chip's pins: what the
unit tests replace by stand-ins (analogue inputs, clocked bits, 1-Wire, UART)."""

import tomllib
from pathlib import Path

import pytest
from outpost.boards import load_board
from outpost.build.configure import board_map
from outpost.sim.wiring import Wiring

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
FILES = (
    "node/core/quality.py",
    "node/drivers/sensor.py",
    "node/drivers/battery.py",
    "node/drivers/ds18b20.py",
    "node/drivers/hx711.py",
    "node/drivers/pms5003.py",
    "node/drivers/soil.py",
    "node/hal/analog.py",
    "node/hal/board.py",
    "node/hal/i2c.py",
    "node/hal/shift.py",
    "loader/cbor.py",
    "loader/layout.py",
)
PROGRAM = """
import sys, time
sys.path[:] = ['.frozen', "/"]
from node.drivers.sensor import NotReady, module_of
from node.hal.board import Board

class Config:
    address = 0
    def __init__(self, name, driver, bus, pin, options):
        self.name, self.driver, self.bus, self.pin, self.options = name, driver, bus, pin, options

def read(driver):
    began = time.ticks_ms()
    time.sleep_ms(driver.start())
    out = [None] * len(driver.CHANNELS)
    while True:
        try:
            driver.read_into(out)
            return out
        except NotReady:
            if time.ticks_diff(time.ticks_ms(), began) > driver.deadline_ms:
                raise
            time.sleep_ms(5)

board = Board(%r)
for row in %r:
    config = Config(*row)
    bus = board.bus(config.bus) if config.bus else board
    driver = module_of(config.driver).Driver(bus, config)
    for _ in range(2):
        out = read(driver)
    print(config.name, out, list(driver.quality))
print('done')
"""
PRODUCT = """
[[sensors]]
name = "cell"
driver = "battery"
pin = "{adc0}"
options = {{ upper_kohm = 300, lower_kohm = 100 }}

[[sensors]]
name = "bed"
driver = "soil"
pin = "{adc1}"

[[sensors]]
name = "pipes"
driver = "ds18b20"
pin = "gpio13"
options = {{ count = 3 }}

[[sensors]]
name = "scale"
driver = "hx711"
pin = "gpio14"
options = {{ clock = "gpio15", zero = 1000, counts_per_kg = 400000 }}

[[sensors]]
name = "dust"
driver = "pms5003"
bus = "{uart}"
"""
WORLD = {
    "cell.millivolts": 3900,
    "bed.moisture_milli": 250,
    "pipes_1.temperature_mc": 10000,
    "pipes_2.temperature_mc": -5500,
    "pipes_3.temperature_mc": 60000,
    "scale.counts": 201000,
    "dust.pm2_5_ug": 11,
}


@pytest.mark.parametrize(
    ("name", "adc", "uart"),
    [
        ("esp32_generic", ("gpio34", "gpio35"), "uart2"),
        ("rpi_pico_w", ("gpio26", "gpio27"), "uart1"),
    ],
)
def test_parts_on_pins_of_their_own(boards, tmp_path, name, adc, uart):
    product = tmp_path / "product.toml"
    product.write_text(PRODUCT.format(adc0=adc[0], adc1=adc[1], uart=uart))
    rows = [
        tuple(row.get(key, "") for key in ("name", "driver", "bus", "pin"))
        + (row.get("options", {}),)
        for row in tomllib.loads(product.read_text())["sensors"]
    ]
    files = {"/" + path: (FIRMWARE / path).read_bytes() for path in FILES}
    main = PROGRAM % (board_map(load_board(name)), rows)
    wiring = Wiring().with_product(product)
    board = boards(name, main, files=files, wiring=wiring, start=False, time="fast")
    for key, value in WORLD.items():
        board.world[key] = value
    board.start()
    board.wait_for("line:done")
    found = {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in board.lines if " [" in line}
    # 12 bits of 3.3 V behind a divider of 4: 3.2 mV a step
    assert abs(int(found["cell"][1:].split("]")[0]) - 3900) <= 8
    assert abs(int(found["bed"][1:].split("]")[0]) - 250) <= 2
    assert found["pipes"] == "[1000, -550, 6000] [0, 0, 0]"
    assert found["scale"] == "[500] [0]"
    assert found["dust"] == "[5, 11, 12] [10, 10, 10]"
