"""Desired state, from the fleet's registry to the parts of a running node and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.fleet_node import ID, Lab, make_release

pytestmark = [pytest.mark.vm, pytest.mark.broker]


def settings(lab: Lab) -> dict:
    from outpost.fleet import views

    return views.one_device(lab.server.registry, ID)["settings"]


def until_state(lab: Lab, state: str) -> dict:
    lab.until(lambda: settings(lab)["state"] == state, f"settings that are {state}")
    return settings(lab)


def rows(found: dict) -> dict:
    return {row["name"]: (row["desired"], row["reported"], row["why"]) for row in found["rows"]}


def test_settings_are_applied_refused_kept_and_taken_back(tmp_path: Path) -> None:
    with Lab(tmp_path) as lab:
        lab.start()
        desire = lab.server.service.desire
        desire(ID, {"sample_s": 7, "heartbeat_s": 12, "log.level": 9, "colour": 3})
        found = until_state(lab, "partly")
        assert rows(found) == {
            "colour": (3, None, "unknown"),
            "heartbeat_s": (12, 12, ""),
            "log.level": (9, None, "bounds"),
            "sample_s": (7, 7, ""),
        }
        took_effect(lab, 7)
        # kept over a reset, with the reasons
        boot = lab.device.boot
        lab.command("reboot")
        lab.until(lambda: lab.device.boot == boot + 1 and lab.device.online, "the next boot")
        lab.until(lambda: settings(lab)["state"] == "partly", "its report")
        took_effect(lab, 7)
        # all refused: nothing changes, and it is said
        desire(ID, {"sample_s": 0, "heartbeat_s": None, "colour": None, "log.level": None})
        found = until_state(lab, "refused")
        assert rows(found)["sample_s"] == (0, 7, "bounds")
        # taken back: the product's own pace
        desire(ID, {"sample_s": None})
        assert until_state(lab, "in step")["rows"] == []
        took_effect(lab, 1)
        # as a command, which is answered
        answer = lab.command("set-config", set={"publish_s": 3})
        assert answer.ok and answer.reply["r"]["set"] == {"publish_s": 3}
        assert until_state(lab, "in step")["version"] == 4
        kept_by_an_update(lab)


def took_effect(lab: Lab, sample_s: int) -> None:
    """The newest rows are so far apart."""

    def paced() -> bool:
        points = lab.server.registry.telemetry.series(ID, "air_temperature", (0, 1 << 52))
        if len(points) < 3:
            return False
        gaps = [b[0] - a[0] for a, b in zip(points[-3:], points[-2:], strict=False)]
        return all(abs(gap - 1000 * sample_s) < 400 for gap in gaps)

    lab.weather_moves()
    lab.until(paced, f"rows {sample_s} s apart", 60)


def kept_by_an_update(lab: Lab) -> None:
    release = make_release(lab.product, lab.folder / "build", "1.1.0")
    lab.server.publish(release.folder)
    lab.server.rollouts.create("weather", "1.1.0")
    lab.until(
        lambda: lab.device.version == "1.1.0" and lab.device.confirmed and lab.device.online,
        "the update",
        90,
    )
    found = until_state(lab, "in step")
    assert rows(found) == {"publish_s": (3, 3, "")}


def test_a_broker_that_lost_its_memory_is_told_again(tmp_path: Path) -> None:
    with Lab(tmp_path) as lab:
        lab.server.service.desire(ID, {"heartbeat_s": 11})
        sent: list[tuple[str, bool]] = []
        lab.server.service.orders._send = lambda topic, payload, retain=False: sent.append(
            (topic, retain)
        )
        lab.server.service.orders.remind()
        assert sent == [(f"v1/{ID}/down/desired", True)]


def test_a_version_above_what_the_device_has_seen(tmp_path: Path) -> None:
    """A registry that was restored from a backup must still be heard."""
    with Lab(tmp_path) as lab:
        lab.server.registry.devices.report(ID, {"desired": {"v": 7, "seen": 9}})
        assert lab.server.service.desire(ID, {"heartbeat_s": 11}).version == 10
