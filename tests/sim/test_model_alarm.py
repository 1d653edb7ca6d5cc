"""A trained model from end to end: a board's recorded telemetry, `outpost model train`, a release
that carries the model, and a board that finds with it what is not weather.

Virtual time runs ahead of the host's, as `time="fast"` has it.
"""

from __future__ import annotations

import itertools
import random
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from node.core import model
from outpost.sim import SimBoard, Wiring

from tests.sim.fleet_node import _BME280, ID, Lab, make_release

Point = tuple[int, float]  # time in ms, value
pytestmark = [pytest.mark.vm, pytest.mark.broker, pytest.mark.exhaustive]
_ROWS = 520  # what the training asks for, and a few
_SLOW_S, _FAST_MS = 4, 1000  # a round while nothing happens, and while an alarm is captured
_QUIET = "\n".join(
    f"[filters.air_{name}]\ndeadband = {band}\nreport_s = 3600\n"
    for name, band in (("temperature", 50.0), ("humidity", 50.0), ("pressure", 50000.0))
)


class Room(threading.Thread):
    """The world's air: humidity falls as it gets warmer, and nothing is ever quite the same."""

    def __init__(self, sim: SimBoard) -> None:
        super().__init__(daemon=True)
        self._sim = sim
        self._done = threading.Event()
        self.strange = False

    def run(self) -> None:
        dice = random.Random(3)
        while not self._done.wait(0.008):
            warmer = dice.gauss(0, 150)
            wetter = -2 * warmer + dice.gauss(0, 100)
            if self.strange:
                warmer, wetter = warmer + 8000, wetter + 15000
            self._sim.world["bme280.temperature_mc"] = round(21000 + warmer)
            self._sim.world["bme280.humidity_milli"] = round(45000 + wetter)

    def stop(self) -> None:
        self._done.set()
        self.join()


def points(lab: Lab) -> list[Point]:
    span = (0, 1 << 52)
    found = lab.server.registry.telemetry.series(ID, "air_temperature", span, 5000)
    return [(at, value) for at, value in found]


def alarms(lab: Lab) -> list[dict[str, Any]]:
    return [e.body for e in lab.events("alarm") if e.body.get("alarm") == "model"]


def train(lab: Lab, outpost: Any) -> None:
    """With the command line, from what the fleet has recorded."""
    rows = lab.folder / "rows.csv"
    server = ("--server", lab.server.url, "--dir", str(lab.folder / "fleet"))
    given = outpost("device", "export", ID, "--out", str(rows), *server)
    assert given.exit_code == 0, given.stderr
    schema, out = lab.release.folder / "files/schema.cbor", lab.product / "model.cbor"
    columns = ("--column", "air_temperature", "--column", "air_humidity")
    made = outpost(
        *("model", "train", str(rows), "--schema", str(schema), "--out", str(out), *columns)
    )
    assert made.exit_code == 0, made.stderr
    assert out.stat().st_size <= model.MAX_BYTES


def test_recorded_trained_built_and_found(tmp_path: Path, outpost: Any) -> None:
    lab = Lab(tmp_path)
    with lab:
        lab.sim = sim = SimBoard(
            lab.board_name, lab.flash, wiring=Wiring(devices=[_BME280]), time="fast",
            heap=200_000, on_line=lab.lines.append,
        )  # fmt: skip
        room = Room(sim)
        room.start()
        try:
            sim.state["fast_rate"] = 150
            lab.start()
            lab.until(lambda: len(points(lab)) >= _ROWS, f"{_ROWS} rows", 60)
            train(lab, outpost)
            recorded = install(lab)
            found(lab, room, recorded)
        finally:
            room.stop()


def install(lab: Lab) -> set[Point]:
    """The release with the model, over the air; its rows are rare while nothing happens. Returns
    the rows of before: the device asks for the time again, so the next ones may lie between."""
    recipe = lab.product / "product.toml"
    text = re.sub(r"(?m)^sample_s = \d+", f"sample_s = {_SLOW_S}", recipe.read_text())
    recipe.write_text(text.split("[filters.")[0] + _QUIET)
    release = make_release(lab.product, lab.folder / "build", "1.1.0")
    assert (release.folder / "files/model.cbor").exists()
    lab.server.publish(release.folder)
    lab.server.rollouts.create("weather", "1.1.0")
    lab.until(
        lambda: lab.device.version == "1.1.0" and lab.device.confirmed and lab.device.online,
        "the update",
    )
    return set(points(lab))


def found(lab: Lab, room: Room, recorded: set[Point]) -> None:
    """Weather is no news; what is not weather is an event, with rows of a high rate around it."""
    assert lab.sim
    rounds(lab.sim, model.WARM_UP + 16)
    known = len(alarms(lab))
    assert known <= 2  # one ordinary row in a thousand may be called unusual
    room.strange = True
    lab.until(lambda: len(alarms(lab)) > known, "an event of the model", 30)
    alarm = lab.events("alarm")[0]
    assert alarm.ts_ms and alarm.body["column"] == ""
    rows = lab.until(lambda: around(lab, alarm.ts_ms or 0, recorded), "the capture", 30)
    assert max(value for _, value in rows) > 27


def rounds(sim: SimBoard, count: int) -> None:
    """Let the board measure so many times."""
    end_ms = sim.world_ms() + count * _SLOW_S * 1000
    limit = time.monotonic() + 30
    while sim.world_ms() < end_ms:
        assert time.monotonic() < limit, "virtual time stands"
        time.sleep(0.05)


def around(lab: Lab, at_ms: int, recorded: set[Point]) -> list[Point]:
    """The rows about an alarm once the capture is there: slow ones before, fast ones after."""
    rows = [point for point in points(lab) if point not in recorded]
    before = [at for at, _ in rows if at_ms - 9 * _SLOW_S * 1000 <= at < at_ms - _FAST_MS]
    after = [at for at, _ in rows if at >= at_ms - _FAST_MS][:28]
    if len(after) < 28 or len(before) < 6:
        return []
    assert all(abs(gap - _SLOW_S * 1000) < 500 for gap in gaps(before)), gaps(before)
    assert all(abs(gap - _FAST_MS) < 500 for gap in gaps(after)[1:]), gaps(after)
    return rows


def gaps(times: list[int]) -> list[int]:
    return [b - a for a, b in itertools.pairwise(times)]
