"""A slower clock and a switched supply on a board in the field: the meter agrees with
`outpost power`, and both say that it was worth it."""

import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
from outpost.boards import load_board
from outpost.build.product import load_product
from outpost.power import predict, sensing_of
from outpost.sim.scenario import Scenario

from tests.bench.month import play
from tests.month_kit import Field

pytestmark = [pytest.mark.vm, pytest.mark.broker]
PRODUCT = Path(__file__).resolve().parents[1] / "products" / "greenhouse"
DAYS = Scenario(days=0.5)


@pytest.fixture(scope="module")
def half_a_day(tmp_path_factory):
    with Field(tmp_path_factory.mktemp("field"), product=PRODUCT) as field:
        yield play(field, DAYS)


def test_meter_and_prediction_agree(half_a_day):
    metered, predicted = half_a_day.board.meter.average_ua, half_a_day.predicted.average_ua
    assert abs(half_a_day.error) < 0.05, (metered, predicted)
    assert half_a_day.accounts.lost == 0


def test_the_prediction_knows_of_both(half_a_day):
    """Without the clock, or without the supply, it would not agree."""
    product = load_product(PRODUCT)
    board, sensing = load_board("esp32_generic"), sensing_of(product)
    default = deepcopy(product.tables)
    default["power"]["cpu_mhz"] = 0
    metered = half_a_day.board.meter.average_ua
    assert metered < 0.85 * predict(default, board, DAYS, sensing).average_ua
    free = replace(sensing, rail_uams=0)
    assert metered > 1.05 * predict(product.tables, board, DAYS, free).average_ua


def test_the_clock_is_slow_while_it_samples_and_the_supply_on(half_a_day):
    meter, wakes = half_a_day.board.meter, half_a_day.accounts.taken
    assert wakes >= 24
    sampling = 3000 + 180  # warm-up, and a BH1750's conversion
    slow = meter.time_ms["active_slow"]
    assert wakes * sampling <= slow < wakes * (sampling + 100)  # no handshake: 1.8 s each
    assert wakes * sampling <= meter.time_ms["rail_0"] < wakes * (sampling + 20)
    assert meter.charge_uams["rail_0"] == 5000 * meter.time_ms["rail_0"]


def test_where_each_sleep_ends_at_the_default_clock(tmp_path):
    """RP2: light sleep brings the clocks up as a reset does, so each wake sets its own again."""
    product = tmp_path / "product"
    shutil.copytree(PRODUCT, product)
    text = (product / "product.toml").read_text()
    text = text.replace("sample_s = 1800", "sample_s = 300")
    text = text.replace("publish_s = 21600", "publish_s = 1")
    (product / "product.toml").write_text(text.replace("target_days = 1000", "target_days = 0"))
    with Field(tmp_path, product=product) as field:
        found = play(field, Scenario(days=0.02), "rpi_pico_w")
    wakes = found.accounts.taken
    assert wakes >= 5
    assert found.board.resets == ["power_on"]
    slow = found.board.meter.time_ms["active_slow"]
    assert wakes * 3180 <= slow < wakes * 3400
