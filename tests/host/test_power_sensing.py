"""What sensors, switched supplies and a slower clock cost in the prediction."""

import shutil
from copy import deepcopy
from pathlib import Path

import pytest
from outpost.boards import load_board
from outpost.build.product import load_product
from outpost.power import Profile, Sensing, predict, sensing_of
from outpost.power.sensing import round_of
from outpost.sim.scenario import Scenario

from tests.month_kit import BATTERY_PRODUCT

ESP32 = load_board("esp32_generic")
PICO = load_board("rpi_pico_w")
DAYS = Scenario(days=30)
GREENHOUSE = BATTERY_PRODUCT.parent / "greenhouse"


def average(cpu_mhz=0, sensing=None, board=ESP32):
    tables = deepcopy(load_product(BATTERY_PRODUCT).tables)
    tables["power"]["cpu_mhz"] = cpu_mhz
    tables["battery"]["target_days"] = 0  # connect at every wake: the same number in all
    return predict(tables, board, DAYS, sensing).average_ua


def test_conversions_overlap():
    assert round_of([({}, 10), ({}, 180), ({}, 20)]).awake_ms == 185


def test_behind_a_supply_each_is_started_when_it_is_its_turn():
    """tasks.sense asks the second when the first has answered; both supplies are on meanwhile."""
    one = {"rail": "gpio21", "warm_ms": 100, "rail_ua": 3000}
    other = {"rail": "gpio22", "warm_ms": 50, "rail_ua": 7000}
    found = round_of([(one, 20), (other, 30)])
    assert found.awake_ms == 100 + 20 + 30 + 5
    assert found.rail_uams == 3000 * 125 + 7000 * 155


def test_a_shared_supply_is_on_until_the_last_and_carries_both():
    one = {"rail": "gpio21", "warm_ms": 100, "rail_ua": 3000}
    found = round_of([(one, 20), ({}, 10), ({**one, "rail_ua": 500}, 40)])
    assert found.awake_ms == 165
    assert found.rail_uams == 3500 * 165


def test_the_charge_of_a_supply_is_all_that_it_adds():
    sensing = Sensing(1000)
    more = average(0, Sensing(1000, rail_uams=1000 * 5000)) - average(0, sensing)
    assert more == pytest.approx(1000 * 5000 / 1_800_000, rel=0.01)  # per wake, every half hour


def test_warm_up_keeps_the_chip_awake():
    more = average(0, Sensing(1015)) - average(0, Sensing(15))
    assert more == pytest.approx(1000 * ESP32.chip.current_ua.active / 1_800_000, rel=0.01)


@pytest.mark.parametrize("board, mhz, ua", [(ESP32, 80, 31000), (PICO, 64, 14493)])
def test_a_slower_clock_saves_what_it_takes_less_while_waiting(board, mhz, ua):
    """The line through the two currents of the chip's data; loading takes longer at it."""
    assert board.chip.active_ua(mhz) == ua
    fast, slow = Profile(board), Profile(board, mhz)
    longer = slow.wake().awake_ms - fast.wake().awake_ms
    load = fast.sampled_ms - fast.sensing.awake_ms
    assert longer == pytest.approx(load * (board.chip.freq.default_mhz / mhz - 1), abs=1)
    saved = average(0, Sensing(5015), board) - average(mhz, Sensing(5015), board)
    waiting = 5015 * (board.chip.current_ua.active - ua)
    loading = (load + longer) * ua - load * board.chip.current_ua.active
    assert saved == pytest.approx((waiting - loading) / 1_800_000, rel=0.02)


def test_a_fast_sensor_is_not_worth_it():
    """A BME280 answers in 10 ms: what is saved in them is spent on loading for longer."""
    assert abs(average(80) / average(0) - 1) < 0.001


def test_a_product_is_priced_by_its_drivers():
    found = sensing_of(load_product(GREENHOUSE))
    assert found.awake_ms == 3000 + 180 + 5
    assert found.rail_uams == 5000 * found.awake_ms
    assert sensing_of(load_product(BATTERY_PRODUCT)) == Sensing()


@pytest.mark.parametrize(
    "driver, more, ms",
    [
        ("ds18b20", 'pin = "gpio4"', 750),
        ("scd4x", 'bus = "i2c0"', 5000),
        ("scd4x", 'bus = "i2c0"\noptions = { low_power = true }', 30000),
        ("bme680", 'bus = "i2c0"\noptions = { heater_ms = 100 }', 121),
        ("ads1115", 'bus = "i2c0"\noptions = { inputs = [0, 2] }', 18),
        ("hx711", 'pin = "gpio4"', 100),
        ("soil", 'pin = "gpio34"', 0),
    ],
)
def test_slow_sensors(tmp_path, driver, more, ms):
    assert sensing_of(load_product(edited(tmp_path, driver, more))).awake_ms == ms + 5


def edited(folder: Path, driver: str, more: str) -> Path:
    text = (BATTERY_PRODUCT / "product.toml").read_text()
    head = text[: text.index("[[sensors]]")]
    sensor = f'[[sensors]]\nname = "x"\ndriver = "{driver}"\n{more}\n'
    (folder / "product.toml").write_text(head + sensor)
    return folder


def test_the_command_prices_it_and_says_what_it_cannot(tmp_path, outpost):
    arguments = ["power", "--board", "esp32_generic", "--days", "1"]
    done = outpost(*arguments, str(GREENHOUSE))
    assert done.exit_code == 0 and "rail" not in done.stderr
    text = (GREENHOUSE / "product.toml").read_text()
    (tmp_path / "product.toml").write_text(text.replace(", rail_ua = 5000", ""))
    done = outpost(*arguments, str(tmp_path))
    assert done.exit_code == 0
    assert "rail gpio21" in done.stderr and "rail_ua" in done.stderr


def test_the_command_refuses_a_clock_that_the_chip_must_not_have(tmp_path, outpost):
    shutil.copy(GREENHOUSE / "product.toml", tmp_path)
    file = tmp_path / "product.toml"
    file.write_text(file.read_text().replace("cpu_mhz = 80", "cpu_mhz = 48"))
    done = outpost("power", str(tmp_path), "--board", "rpi_pico_w")
    assert done.exit_code == 2
    assert "rp2040" in done.stderr and "64, 80" in done.stderr
