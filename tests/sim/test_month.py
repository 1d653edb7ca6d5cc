"""Days of battery mode on the simulated board: the meter agrees with `outpost power`, and every
reading is accounted for. The whole month is exhaustive (and `python -m tests.bench month`)."""

import json

import pytest
from outpost.sim.scenario import Happening, Interval, Scenario

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
    # In this heap a call has a boot of its own, and so has a check for a release, one at the start
    # and one a day later; the scenario may end between boot and reading.
    calls = days.predicted.connects + days.predicted.failures
    more = len(days.board.resets) - days.accounts.taken
    assert 0 < more <= calls + 2 + 2


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


def test_the_command_line_gives_the_account(field, days, outpost, tmp_path):
    """What a user runs, on the board that has been in the field for a day and a half."""
    scenario = tmp_path / "short.toml"
    night = "[[interval]]\nname = 'wifi.up'\nvalue = 0\nstart_s = 0\nduration_s = 3000\n"
    scenario.write_text("days = 0.2\n" + night)
    arguments = ["--json", "sim", "run", str(field.folder / "esp32_generic.img"), "--quiet"]
    arguments += ["--dir", str(tmp_path / "bench"), "--time", "modelled", "--heap", "400000"]
    arguments += ["--product", str(field.product / "product.toml")]
    arguments += ["--scenario", str(scenario), "--fleet", str(field.folder / "fleet")]
    done = outpost(*arguments)
    assert done.exit_code == 0, done.stderr
    (found,) = json.loads(done.stdout)["result"].values()
    readings = found["readings"]
    assert readings["taken"] >= 9
    assert readings["duplicated"] == 0
    parts = ("delivered", "dropped", "queued", "lost")
    assert readings["taken"] == sum(readings[part] for part in parts)
    assert found["boots"]["deepsleep"] >= 9
    assert found["average_ua"] > 10


def test_no_time_server_no_broker_no_network(field, days):
    """Whatever is missing, from the first wake on: each ends in sleep within the budget."""
    flash = field.folder / "esp32_generic.img"
    for missing in ("ntp.up", "net.up", "wifi.up"):
        scenario = Scenario(days=0.3, intervals=(Interval(missing, 0, 0, 86400),))
        board, taken = field.run("esp32_generic", flash, scenario, 60)
        woke, awake = None, []
        for event in board.events:
            if event.name == "boot":
                woke = event.world_ms
            elif event.name == "deepsleep":
                awake.append(event.world_ms - woke)
        assert len(awake) >= 14, missing
        assert max(awake) < 22000, missing
        assert len(taken.rows) >= 14, missing
        # fewer and fewer attempts: backoff across sleeps
        tries = sum("wake: no delivery" in line for line in board.lines)
        assert tries <= 5, missing
