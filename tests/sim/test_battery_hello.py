"""A battery node's first word after a start reaches the fleet, however late it is."""

import shutil

import pytest
from outpost.sim.scenario import Happening, Interval, Scenario

from tests.month_kit import BATTERY_PRODUCT, Field

pytestmark = [pytest.mark.vm, pytest.mark.broker]
_QUICK = (("sample_s = 1800", 300), ("publish_s = 21600", 1), ("target_days = 1000", 0))


@pytest.mark.parametrize("board", ["esp32_generic", "rpi_pico_w"])
def test_what_started_it_is_told_when_the_network_is_back(tmp_path, board):
    """Switched on, and reset once more, where there is no network: what ends the wakes before the
    first connection is sleep."""
    product = tmp_path / "product"
    shutil.copytree(BATTERY_PRODUCT, product)
    text = (product / "product.toml").read_text()
    for line, value in _QUICK:
        assert line in text
        text = text.replace(line, f"{line.split()[0]} = {value}")
    (product / "product.toml").write_text(text)
    scenario = Scenario(
        days=0.06,
        intervals=(Interval("wifi.up", 0, 0, 2500),),
        events=(Happening(700, "press_reset"),),
    )
    with Field(tmp_path, product=product) as field:
        flash, device_id = field.provisioned(board)
        sim, _ = field.run(board, flash, scenario, 90)
        told = [event.body for event in field.server.registry.journal.events(device_id)]
    assert any("wake: no delivery" in line for line in sim.lines)
    boots = [body["cause"] for body in told if "cause" in body and "slot" in body]
    assert boots == ["power_on"]  # which is what both chips make of their reset pin
