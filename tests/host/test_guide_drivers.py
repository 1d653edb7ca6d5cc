"""docs/guide/drivers.md: its custom driver is built as it stands there and reads its model; its
table and that of docs/reference/drivers.md name every driver."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest
from node.core import quality
from node.drivers.sensor import NotReady
from outpost.build.release import build
from outpost.build.scaffold import scaffold
from outpost.sim.chip import bus
from simulated_bus import I2C, sensor_config

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/guide/drivers.md"
SOURCES = ROOT / "docs/reference/drivers.md"
FIRMWARE = ROOT / "firmware/node/drivers"
NOT_DRIVERS = {"__init__", "bosch", "sensor", "sensirion"}


def listings(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def module_from(source: str, name: str) -> types.ModuleType:
    module = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
    return module


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> tuple[types.ModuleType, types.ModuleType]:
    """The driver and the model of the page."""
    driver, model = listings("python")
    monkeypatch.setitem(sys.modules, "chip", types.ModuleType("chip"))
    monkeypatch.setitem(sys.modules, "chip.bus", bus)
    return module_from(driver, "tmp102"), module_from(model, "tmp102_model")


@pytest.mark.parametrize(
    ("page", "until"),
    [(PAGE, "## In product.toml"), (SOURCES, "## What the check changed")],
)
def test_the_table_names_every_driver(page: Path, until: str) -> None:
    head = page.read_text().split(until)[0]
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", head, re.MULTILINE))))
    assert named == {path.stem for path in FIRMWARE.glob("*.py")} - NOT_DRIVERS


def test_the_example_builds(tmp_path: Path) -> None:
    scaffold(tmp_path, "guide", ("esp32_generic",), "tmp102")
    (tmp_path / "drivers/tmp102.py").write_text(listings("python")[0])
    release = build(tmp_path, tmp_path / "out")
    assert "node/drivers/tmp102.mpy" in release.modules


def test_sensors_of_the_page_are_a_product(tmp_path: Path) -> None:
    scaffold(tmp_path, "guide", ("esp32_generic",))
    file = tmp_path / "product.toml"
    head = file.read_text().split("[[sensors]]")[0]
    file.write_text(head + listings("toml")[0])
    release = build(tmp_path, tmp_path / "out")
    schema = (release.folder / "files/schema.cbor").read_bytes()
    for column in (b"air_humidity", b"pipes_back", b"pipes_supply", b"scale_mass"):
        assert column in schema


def test_the_example_reads_its_model(
    example: tuple[types.ModuleType, types.ModuleType],
) -> None:
    driver_module, model = example
    world: dict[str, int] = {}
    now = [1000]
    around = bus.Surroundings(lambda name, default=0: world.get(name, default), lambda: now[0])
    part = model.Part(around, {"name": "air"})
    wires = types.SimpleNamespace(part=part)
    driver = driver_module.Driver(I2C(wires), sensor_config("tmp102"))
    out = [0]
    with pytest.raises(NotReady):
        driver.read_into(out)
    for milli in (-40000, -25000, 0, 21500, 125000):
        world["air.temperature_mc"] = milli
        wait_ms = driver.start()
        with pytest.raises(NotReady):
            driver.read_into(out)
        now[0] += wait_ms
        driver.read_into(out)
        assert out == [milli // 10]
    driver.start()
    now[0] += 100
    world["air.fault"] = bus.FAULT_STUCK
    with pytest.raises(NotReady):
        driver.read_into(out)
    assert driver.quality[0] == quality.GOOD
