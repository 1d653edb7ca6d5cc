"""Days of battery mode on the simulated board: the meter agrees with `outpost power`, and every
reading is accounted for. The whole month is exhaustive (and `python -m tests.bench month`)."""

import pytest
from outpost.sim.scenario import Happening

from tests.bench.month import nights, play
from tests.month_kit import Field

pytestmark = [pytest.mark.vm, pytest.mark.broker]
_BATCH = 60  # tests/products/battery: what one power cut may cost


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    with Field(tmp_path_factory.mktemp("field")) as opened:
        yield opened


@pytest.fixture(scope="module")
def days(field):
    """A day and a half, with two nights of outages."""
    return play(field, nights(1.5))


def test_meter_and_prediction_agree(days):
    assert abs(days.error) < 0.05, (days.board.meter.average_ua, days.predicted.average_ua)


def test_every_reading_is_accounted_for(days):
    accounts = days.accounts
    assert accounts.taken >= 70
    assert accounts.lost == 0
    assert accounts.delivered > accounts.taken * 0.8
    assert days.duplicates == 0


def test_no_wake_outlasts_its_budget(days):
    """Awake at most 20 s (and the boot), though Wi-Fi, then the broker, were not there."""
    woke = None
    longest = 0
    for event in days.board.events:
        if event.name == "boot":
            woke = event.world_ms
        elif event.name == "deepsleep":
            longest = max(longest, event.world_ms - woke)
    assert longest < 22000
    assert set(days.board.resets) == {"power_on", "deepsleep"}


def test_boot_number_stays_and_sequence_goes_on(days):
    # the scenario may end between a boot and its reading
    assert len(days.board.resets) - 1 <= days.accounts.taken <= len(days.board.resets)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_month(tmp_path):
    with Field(tmp_path) as opened:
        month = play(opened, nights(30))
    assert abs(month.error) < 0.05
    assert month.accounts.lost == 0


@pytest.mark.slow
@pytest.mark.exhaustive
def test_power_cuts_cost_at_most_an_open_batch(tmp_path):
    cuts = tuple(Happening(43200 * n + 1000, "power_cycle") for n in range(1, 4))
    with Field(tmp_path) as opened:
        found = play(opened, nights(2, cuts))
    assert 0 <= found.accounts.lost <= _BATCH * len(cuts)
