"""Scenarios: pure arithmetic first, then a board that lives through one."""

import pytest
from outpost.errors import OutpostError
from outpost.sim import load_scenario
from outpost.sim.scenario import Battery, Happening, Interval, Scenario, Signal

NIGHTLY = Interval("wifi.up", 0, start_s=3600, duration_s=600, every_s=86400)


def test_an_interval_repeats():
    assert [NIGHTLY.at(t) for t in (0, 3599, 3600, 4199, 4200, 90000, 90600)] == [
        1, 1, 0, 0, 1, 0, 1,
    ]  # fmt: skip
    assert [NIGHTLY.next_change(t) for t in (0, 3600, 4199, 4200)] == [3600, 4200, 4200, 90000]


def test_once_is_once():
    once = Interval("x", 5, start_s=10, duration_s=5, otherwise=2)
    assert [once.at(t) for t in (9, 10, 14, 15, 99999)] == [2, 5, 5, 2, 2]
    assert once.next_change(15) is None


def test_a_signal_is_warm_in_the_afternoon_and_repeatable():
    signal = Signal(10_000, day=5_000, noise=100, per_day=1_000)
    warm, cold = signal.at("t", 15 * 3600, 60), signal.at("t", 3 * 3600, 60)
    assert warm > 14_500 and cold < 6_000
    assert signal.at("t", 15 * 3600, 60) == warm
    assert signal.at("t", 15 * 3600 + 86400, 60) - warm == pytest.approx(1000, abs=200)


def test_next_change_never_stands_still_and_ends():
    scenario = Scenario(days=1, step_s=900, signals=(("t", Signal(0)),), intervals=(NIGHTLY,))
    at_s, steps = 0, 0
    while at_s < scenario.end_s:
        following = scenario.next_change(at_s)
        assert following > at_s
        at_s, steps = following, steps + 1
    assert at_s == scenario.end_s and steps == 97  # 96 quarters, and 4200


def test_a_battery_falls_with_the_charge():
    battery = Battery("battery.millivolts", capacity_mah=1000, full=4200, empty=3300)
    assert [battery.at(mah) for mah in (0, 500, 1000, 2000)] == [4200, 3750, 3300, 3300]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("dayz = 3", "dayz"),
        ("days = 'x'", "days"),
        ("days = 0", "days"),
        ("[signals.x]\nmeen = 1", "signals.x.meen"),
        ("[signals.x]\nday = 1", "signals.x"),
        ("[[interval]]\nname = 3", "interval[0].name"),
        ("[[event]]\nat_s = 1\nwhat = 'explode'", "event.what"),
        ("days = [", "Invalid value"),
    ],
)
def test_a_bad_file_is_refused_by_key(tmp_path, text, what):
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(OutpostError) as refused:
        load_scenario(path)
    assert refused.value.exit_code == 2
    assert what in refused.value.message


def test_a_fast_board_sees_each_change_at_its_second(boards):
    """The change is seen at its virtual second, though an hour passes in milliseconds."""
    program = """
import network, time
w = network.WLAN(0); w.active(True); w.connect('sim', 'simulated')
while not w.isconnected(): time.sleep_ms(50)
up = True
while True:
    if w.isconnected() != up:
        up = not up
        print('up' if up else 'down', time.ticks_ms() // 1000)
    time.sleep_ms(500)
"""
    scenario = Scenario(days=0.1, intervals=(NIGHTLY,))
    board = boards("esp32_generic", program, time="fast", scenario=scenario)
    board.wait_for("line:up", timeout=20)
    down, up = (int(line.split()[1]) for line in board.lines if line[:2] in ("do", "up"))
    assert 3600 <= down <= 3604
    assert 4200 <= up <= 4206


def test_events_reach_a_sleeping_and_a_waking_board(boards):
    program = """
import machine
with open('f', 'ab') as f: f.write(b'x' * 100)
machine.deepsleep(600000)
"""
    scenario = Scenario(
        days=0.1,
        events=(
            Happening(1000, "power_cycle"),
            Happening(2000, "brown_out"),
            Happening(3000, "cut_power", argument=1),
        ),
    )
    board = boards("esp32_generic", program, time="fast", scenario=scenario)
    board.wait_for("over", timeout=20)
    names = [event.name for event in board.events]
    assert names.count("power_cut") == 1
    assert board.resets.count("brownout") == 1
    assert board.resets.count("power_on") == 3  # the first, the cycle, and after the cut
    cycle = [e.world_ms for e in board.events if e.name == "boot" and e.detail == "power_on"][1]
    begin = board.events[0].world_ms
    assert abs((cycle - begin) // 1000 - 1000) <= 2


def test_a_month_of_battery_wakes_is_quick(boards):
    """Sampled: two days of 15-minute wakes; a whole month is 15 times this."""
    program = """
import machine
with open('n', 'ab') as f: f.write(b'x')
machine.deepsleep(900000)
"""
    scenario = Scenario(days=2, signals=(("air.temperature_mc", Signal(12_000, 6_000)),))
    board = boards("esp32_generic", program, time="fast", scenario=scenario)
    board.wait_for("over", timeout=40)  # 12 on a quiet machine: a month in three minutes
    assert board.resets.count("deepsleep") in (191, 192)
    assert board.meter.time_ms["deep_sleep"] >= 191 * 900_000
