"""A battery board takes a release between two sleeps, takes itself back from a bad one, and goes
on where the power was cut. Each in the heap that its TOML says.
"""

from pathlib import Path

import pytest
from outpost.fleet.rollout import Policy, Stage
from outpost.sim.scenario import Scenario

from tests.month_kit import Field
from tests.sim.fleet_node import Lab, make_release

pytestmark = [pytest.mark.vm, pytest.mark.broker]
_LIMIT_S = 60
_ENTRY = "node/main.py"
_FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    with Field(tmp_path_factory.mktemp("field")) as opened:
        opened.flash, opened.device_id = opened.provisioned("esp32_generic")
        yield opened


def roll_out(field, version, more):
    """Publish `version`, its entry changed by `more`, and offer it to the board."""
    field.overlay = field.folder / f"overlay-{version}"
    target = field.overlay / _ENTRY
    target.parent.mkdir(parents=True)
    target.write_text((_FIRMWARE / _ENTRY).read_text() + more)
    result = field.release(version)
    stages = (Stage("all", percent=100),)
    field.server.rollouts.create("weatherbat", version, stages, Policy(soak_s=1), actor="test")
    return result


def play(field, hours):
    """So long in the field; what the board said."""
    lines = []
    scenario = Scenario(days=hours / 24)
    field.run("esp32_generic", field.flash, scenario, _LIMIT_S, lines.append)
    return lines


def evidence(field):
    """Of the releases that came by update."""
    events = field.server.registry.journal.events(field.device_id)
    told = [event.body for event in events if event.type == "evidence"]
    return [body for body in told if body["version"] != "1.0.0"]


def test_updated_by_a_rollout_and_back_from_a_bad_one(field):
    play(field, 1)
    good = roll_out(field, "1.1.0", "\n_NEWER = 1\n")
    play(field, 4)
    device = field.server.registry.devices.get(field.device_id)
    assert (device.version, device.release, device.confirmed) == ("1.1.0", good.digest, True)
    assert evidence(field) == []

    roll_out(field, "1.2.0", "\nraise ValueError('planted')\n")
    lines = play(field, 6)
    device = field.server.registry.devices.get(field.device_id)
    assert (device.version, device.confirmed) == ("1.1.0", True)
    assert any(line.startswith("reading") for line in lines)
    told = evidence(field)
    assert {body["version"] for body in told} == {"1.2.0"}
    assert "planted" in told[-1]["text"]


@pytest.mark.parametrize("op", [4, 12, 40])
def test_goes_on_by_itself_when_the_power_was_cut(tmp_path, op):
    """In the middle of the download, of which it keeps what it has."""
    with Lab(tmp_path, mode="battery", heap=None) as lab:
        lab.start()
        cut = []

        def heard(line):
            if "update: under way" in line and not cut:
                cut.append(line)
                lab.sim.cut_power(at_op=op, mode="torn")

        lab.on_line = heard
        overlay = tmp_path / "overlay"
        target = overlay / _ENTRY
        target.parent.mkdir(parents=True)
        target.write_text((_FIRMWARE / _ENTRY).read_text() + "\n_NEWER = 1\n")
        new = make_release(lab.product, tmp_path / "build", "1.1.0", overlay=overlay)
        lab.server.publish(new.folder)
        policy = Policy(soak_s=1)
        lab.server.rollouts.create("weather", "1.1.0", (Stage("all", percent=100),), policy)
        lab.until(lambda: lab.device.release == new.digest and lab.device.confirmed, "1.1.0", 90)
        assert "power_on" in lab.sim.resets[1:]
        assert not any("memory" in line for line in lab.lines)
