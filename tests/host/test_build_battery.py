"""The battery product of the tests is built: packs, modules and data files of a release."""

import shutil
from pathlib import Path

import pytest
from loader import cbor
from outpost import build
from outpost.errors import OutpostError

ROOT = Path(__file__).resolve().parents[2]
BATTERY = ROOT / "tests" / "products" / "battery"
WAKE = (
    "node/battery.mpy",
    "node/core/schedule.mpy",
    "node/core/wakestate.mpy",
    "node/drivers/bme280.mpy",
    "node/parts/call.mpy",
    "node/parts/readings.mpy",
)


def test_it_becomes_a_release_with_every_module_of_a_wake(tmp_path: Path) -> None:
    result = build.build(BATTERY, tmp_path, source="test")
    assert [name for name in WAKE if name not in result.modules] == []
    paths = [row[0] for row in cbor.decode(result.payload.read_bytes())["files"]]
    assert "product.cbor" in paths and "schema.cbor" in paths
    settings = cbor.decode((result.folder / "files" / "product.cbor").read_bytes())
    assert settings["telemetry"]["mode"] == "battery"


def with_clock(folder: Path, mhz: int, boards: str = "") -> Path:
    """The battery product at another clock."""
    product = folder / "product"
    shutil.copytree(BATTERY, product)
    text = (product / "product.toml").read_text()
    if boards:
        text = text.replace('boards = ["esp32_generic", "rpi_pico_w"]', f"boards = [{boards}]")
    (product / "product.toml").write_text(
        text.replace("[[sensors]]", f"[power]\ncpu_mhz = {mhz}\n[[sensors]]", 1)
    )
    return product


def test_a_slower_clock_is_told_to_the_node(tmp_path: Path) -> None:
    result = build.build(with_clock(tmp_path, 80), tmp_path, source="test")
    settings = cbor.decode((result.folder / "files" / "product.cbor").read_bytes())
    assert settings["battery"]["cpu_mhz"] == 80


def test_what_only_the_prediction_reads_is_not_shipped(tmp_path: Path) -> None:
    result = build.build(BATTERY.parent / "greenhouse", tmp_path, source="test")
    settings = cbor.decode((result.folder / "files" / "product.cbor").read_bytes())
    assert settings["sensors"][1]["options"] == {"rail": "gpio21", "warm_ms": 3000}


def test_without_one_the_node_is_told_nothing(tmp_path: Path) -> None:
    result = build.build(BATTERY, tmp_path, source="test")
    settings = cbor.decode((result.folder / "files" / "product.cbor").read_bytes())
    assert "power" not in settings and "cpu_mhz" not in settings["battery"]


@pytest.mark.parametrize(
    ("mhz", "boards", "message", "fix"),
    [
        (40, "", "40, which esp32_generic (esp32)", "0, 80, 160"),  # buses and radio want 80
        (240, "", "240, which esp32_generic (esp32)", "0, 80, 160"),
        (48, '"rpi_pico_w"', "48, which rpi_pico_w (rp2040)", "0, 64, 80, 100, 125"),
        (64, "", "64, which esp32_generic (esp32)", "0, 80, 160"),
        (160, "", "160, which rpi_pico_w (rp2040)", "0, 64, 80, 100, 125"),
    ],
)
def test_a_clock_that_a_chip_must_not_have(
    tmp_path: Path, mhz: int, boards: str, message: str, fix: str
) -> None:
    with pytest.raises(OutpostError) as caught:
        build.build(with_clock(tmp_path, mhz, boards), tmp_path)
    assert message in caught.value.message and fix in caught.value.fix


def test_a_powered_product_has_no_clock_to_choose(tmp_path: Path) -> None:
    product = with_clock(tmp_path, 80)
    text = (product / "product.toml").read_text()
    (product / "product.toml").write_text(text.replace('"battery"', '"powered"', 1))
    with pytest.raises(OutpostError) as caught:
        build.build(product, tmp_path)
    assert "power.cpu_mhz" in caught.value.message and "powered" in caught.value.message
