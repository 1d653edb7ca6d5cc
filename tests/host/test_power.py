"""The prediction: sums, budgets, outages and the picture."""

import io
import json
import xml.etree.ElementTree as ElementTree
from copy import deepcopy

from outpost.boards import load_board
from outpost.build.product import load_product
from outpost.power import predict
from outpost.power.figure import Bar, Text, shapes
from outpost.power.plot import png, svg
from outpost.power.predict import PARTS
from outpost.sim.scenario import Battery, Interval, Scenario
from PIL import Image

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


def test_the_picture_as_png_has_every_shape():
    """What is where a bar is has the bar's colour, behind its end it has none; text is black."""
    night = Interval("wifi.up", 0, 3600, 20 * 3600)
    found = predict(tables(), ESP32, Scenario(days=3, intervals=(night,)))
    with Image.open(io.BytesIO(png(found, "a title"))) as image:
        assert image.format == "PNG"
        scale = image.width // 720
        assert scale >= 1 and image.size == (720 * scale, 320 * scale)
        bars = [shape for shape in shapes(found, "a title") if isinstance(shape, Bar)]
        assert len(bars) == len(PARTS) and all(bar.width * scale >= 1 for bar in bars)
        for bar in bars:
            y = round(scale * (bar.at[1] + bar.height / 2))
            inside = image.getpixel((round(scale * bar.at[0]), y))
            assert "#" + bytes(inside).hex() == bar.colour
            behind = round(scale * (bar.at[0] + bar.width)) + 2
            assert image.getpixel((behind, y)) == (255, 255, 255)
        texts = [shape for shape in shapes(found, "a title") if isinstance(shape, Text)]
        for text in texts:
            assert _has_ink(image, text, scale), text


def _has_ink(image, text, scale):
    x, y = (round(scale * at) for at in text.at)
    wide = 4 * scale  # its first or last letter
    left = x if text.anchor == "start" else x - wide
    letter = image.convert("L").crop((left, y - text.size * scale, left + wide, y))
    return letter.getextrema()[0] < 64


def test_the_command(tmp_path, outpost):
    plot = tmp_path / "life.svg"
    arguments = ["--json", "power", str(BATTERY_PRODUCT), "--board", "esp32_generic"]
    done = outpost(*arguments, "--plot", str(plot), "--days", "2")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["result"]["wakes"] == 96
    assert plot.read_text().startswith("<svg")


def test_the_suffix_says_which_picture(tmp_path, outpost):
    arguments = ["power", str(BATTERY_PRODUCT), "--board", "esp32_generic", "--days", "1"]
    done = outpost(*arguments, "--plot", str(tmp_path / "life.PNG"))
    assert done.exit_code == 0, done.stderr
    with Image.open(tmp_path / "life.PNG") as image:
        assert image.format == "PNG"
    refused = outpost(*arguments, "--plot", str(tmp_path / "life.pdf"))
    assert refused.exit_code == 2
    assert ".png or .svg" in refused.stderr and "--plot life.png" in refused.stderr
    assert not (tmp_path / "life.pdf").exists()
