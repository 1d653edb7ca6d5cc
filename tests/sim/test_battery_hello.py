"""A battery node's first word after a start reaches the fleet, however late it is."""

import pytest
from outpost.sim.scenario import Happening, Interval, Scenario

from tests.month_kit import Field

pytestmark = [pytest.mark.vm, pytest.mark.broker]


# a Pico W dozes in pieces of 64 ms, which takes its time
@pytest.mark.parametrize(
    ("board", "dark_s", "days"), [("esp32_generic", 10800, 0.4), ("rpi_pico_w", 2000, 0.06)]
)
def test_what_started_it_is_told_when_the_network_is_back(tmp_path, board, dark_s, days):
    """Switched on, and reset once more, where there is no network: what ends the wakes before the
    first connection is sleep."""
    scenario = Scenario(
        days=days,
        intervals=(Interval("wifi.up", 0, 0, dark_s),),
        events=(Happening(900, "press_reset"),),
    )
    with Field(tmp_path) as field:
        flash, device_id = field.provisioned(board)
        sim, _ = field.run(board, flash, scenario, 60)
        told = [event.body for event in field.server.registry.journal.events(device_id)]
    assert any("wake: no delivery" in line for line in sim.lines)
    boots = [body["cause"] for body in told if "cause" in body and "slot" in body]
    assert boots == ["power_on"]  # which is what both chips make of their reset pin
