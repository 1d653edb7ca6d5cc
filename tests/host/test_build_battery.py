"""The battery product of the tests is built: packs, modules and data files of a release."""

import shutil
from pathlib import Path

import pytest
from loader import cbor
from outpost import build
from outpost.errors import OutpostError

from tests.host import signed_build

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
    assert [mode_of(result, board) for board in result.boards] == ["battery", "battery"]


def mode_of(result: build.release.BuildResult, board: str) -> str:
    """What the release tells that board."""
    told = cbor.decode((result.folder / "files" / f"board-{board}.cbor").read_bytes())
    return str(told["mode"])


def test_each_board_in_its_own_mode() -> None:
    result = signed_build.weather().result
    assert mode_of(result, "esp32_generic") == "battery"
    assert mode_of(result, "rpi_pico_w") == "powered"
    assert "node/battery.mpy" in result.modules and "node/powered.mpy" in result.modules


def with_mode(folder: Path, boards: str, own: str = "") -> Path:
    """The weather product, always connected, for some boards."""
    text = (signed_build.WEATHER / "product.toml").read_text()
    (folder / "product.toml").write_text(signed_build.for_boards(text, boards, own + "\n"))
    return folder


def test_a_mode_that_does_not_fit_the_memory_of_a_board(tmp_path: Path) -> None:
    boards = '"rpi_pico_w", "esp32_generic"'
    with pytest.raises(OutpostError) as caught:
        build.build(with_mode(tmp_path, boards), tmp_path / "out")
    assert "esp32_generic has 102,400 bytes for Python beside TLS" in caught.value.message
    assert '[boards.esp32_generic] mode = "battery"' in (caught.value.fix or "")
    assert not (tmp_path / "out").exists()


def test_who_says_so_has_the_memory(tmp_path: Path) -> None:
    boards, more = '"esp32_generic"', '[boards.esp32_generic]\nmode = "powered"\n'
    result = build.build(with_mode(tmp_path, boards, more), tmp_path / "out", source="test")
    assert mode_of(result, "esp32_generic") == "powered"
    assert "node/battery.mpy" not in result.modules


def test_boards_that_have_the_memory(tmp_path: Path) -> None:
    boards = '"rpi_pico_w", "w5500_evb_pico", "esp32_w5500"'
    result = build.build(with_mode(tmp_path, boards), tmp_path / "out", source="test")
    assert {mode_of(result, board) for board in result.boards} == {"powered"}


def test_a_wired_board_does_not_sleep(tmp_path: Path) -> None:
    more = '[boards.w5500_evb_pico]\nmode = "battery"\n'
    with pytest.raises(OutpostError, match="wired") as caught:
        build.build(with_mode(tmp_path, '"w5500_evb_pico"', more), tmp_path / "out")
    assert '[boards.w5500_evb_pico] mode = "powered"' in (caught.value.fix or "")


@pytest.mark.parametrize(
    ("more", "message", "fix"),
    [
        ('[boards.esp32_generic]\nmode = "battery"', "boards.esp32_generic", "rpi_pico_w"),
        ('[boards.rpi_pico_w]\nmode = "solar"', "boards.rpi_pico_w.mode", "powered, battery"),
        ("[boards.rpi_pico_w]\nmood = 1", "unknown key boards.rpi_pico_w.mood", "mode"),
        ("[boards]\nrpi_pico_w = 1", "boards.rpi_pico_w is not a table", "[boards.rpi_pico_w]"),
    ],
)
def test_what_a_board_cannot_be_told(tmp_path: Path, more: str, message: str, fix: str) -> None:
    with pytest.raises(OutpostError) as caught:
        build.build(with_mode(tmp_path, '"rpi_pico_w"', more), tmp_path / "out")
    assert message in caught.value.message and fix in (caught.value.fix or "")


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
    product = with_clock(tmp_path, 80, '"rpi_pico_w"')
    text = (product / "product.toml").read_text()
    (product / "product.toml").write_text(text.replace('"battery"', '"powered"', 1))
    with pytest.raises(OutpostError) as caught:
        build.build(product, tmp_path)
    assert "power.cpu_mhz" in caught.value.message and "powered" in caught.value.message
