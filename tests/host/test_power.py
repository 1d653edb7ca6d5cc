"""The prediction: sums, budgets, outages and the picture."""

import json
import xml.etree.ElementTree as ElementTree
from copy import deepcopy

from outpost.boards import load_board
from outpost.build.product import load_product
from outpost.power import predict
from outpost.power.plot import svg
from outpost.power.predict import PARTS
from outpost.sim.scenario import Battery, Interval, Scenario

from tests.month_kit import BATTERY_PRODUCT

ESP32 = load_board("esp32_generic")


def tables(**battery):
    found = deepcopy(load_product(BATTERY_PRODUCT).tables)
    found["battery"].update(battery)
    return found


def test_parts_add_up_and_time_is_the_scenarios():
    found = predict(tables(), ESP32, Scenario(days=5))
    assert abs(found.elapsed_ms - 5 * 86_400_000) < 10_000
    assert set(found.charge_uams) <= set(PARTS)
    assert found.wakes == 240
    assert found.charge_uams["failed"] == 0


def test_it_never_costs_less_than_sleeping():
    found = predict(tables(), ESP32, Scenario(days=5))
    assert found.average_ua > ESP32.chip.current_ua.deep_sleep


def test_a_longer_target_connects_less():
    short = predict(tables(target_days=300), ESP32, Scenario(days=5))
    long = predict(tables(target_days=3000), ESP32, Scenario(days=5))
    assert long.connects < short.connects
    assert long.average_ua < short.average_ua


def test_an_outage_fails_and_backs_off():
    night = Interval("wifi.up", 0, 3600, 20 * 3600)
    found = predict(tables(target_days=0), ESP32, Scenario(days=1, intervals=(night,)))
    assert 2 <= found.failures <= 8  # 40 wakes long


def test_a_flat_battery_hardly_connects():
    flat = Battery("battery.millivolts", 2500, 3000, 2900)
    full = predict(tables(critical_mv=3300), ESP32, Scenario(days=5))
    found = predict(tables(critical_mv=3300), ESP32, Scenario(days=5, battery=flat))
    assert found.connects <= 6 < full.connects


def test_the_picture_is_xml():
    found = predict(tables(), ESP32, Scenario(days=3))
    assert ElementTree.fromstring(svg(found, "<&>")).tag.endswith("svg")


def test_the_command(tmp_path, outpost):
    plot = tmp_path / "life.svg"
    arguments = ["--json", "power", str(BATTERY_PRODUCT), "--board", "esp32_generic"]
    done = outpost(*arguments, "--plot", str(plot), "--days", "2")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["result"]["wakes"] == 96
    assert plot.read_text().startswith("<svg")
