"""boards/: the data is checked, and the error says where and what to write."""

import shutil

import pytest
from outpost.boards import board_names, boards_dir, load_board
from outpost.errors import OutpostError


def test_every_board_loads_and_has_its_stock_geometry():
    assert board_names() == [
        "esp32_generic",
        "esp32_generic_ota",
        "esp32_w5500",
        "rpi_pico_w",
        "w5500_evb_pico",
    ]
    found = {name: load_board(name) for name in board_names()}
    assert found["rpi_pico_w"].filesystem.block_count == 212
    assert found["rpi_pico_w"].filesystem.prog_bytes == 256
    assert found["esp32_generic"].filesystem.offset == 0x200000
    assert found["esp32_generic_ota"].filesystem.bytes == 0xF0000
    assert found["esp32_generic"].filesystem.prog_bytes == 32
    assert found["rpi_pico_w"].chip.wdt.max_ms == 8388
    assert found["rpi_pico_w"].chip.quirks.lightsleep_cap_ms == 64


def test_it_is_frozen():
    with pytest.raises(AttributeError):
        load_board("rpi_pico_w").heap_bytes = 1
    with pytest.raises(TypeError):
        load_board("rpi_pico_w").pins["LED"] = 1


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(boards_dir(), tmp_path / "boards")
    return tmp_path / "boards"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "rpi_pico_w.toml",
            "heap_bytes",
            "heap_bites",
            "rpi_pico_w.toml: heap_bites is not known",
        ),
        ("rpi_pico_w.toml", "190464", "'much'", "rpi_pico_w.toml: heap_bytes has the wrong type"),
        ("rpi_pico_w.toml", "190464", "1", "rpi_pico_w.toml: heap_bytes is 1"),
        ("rpi_pico_w.toml", "0xD4000", "0xD5000", "filesystem ends behind the flash"),
        ("rpi_pico_w.toml", "0xD4000", "0xD3800", "filesystem.bytes is no whole number of blocks"),
        ("rpi_pico_w.toml", "lightsleep_cap_ms", "lightsleep", "quirks.lightsleep is not a key"),
        ("rpi_pico_w.toml", '"rp2040"', '"rp9"', "rpi_pico_w.toml: chip names no file"),
        ("rpi_pico_w.toml", "[filesystem]", "[file", "rpi_pico_w.toml: "),
        ("chips/rp2040.toml", "max_ms = 8388", "max_ms = true", "wdt.max_ms has the wrong type"),
        ("chips/rp2040.toml", "watchdog = 3", "", "rp2040.toml: reset_cause.watchdog is missing"),
        ("chips/rp2040.toml", '"brownout", "ext', '"brown", "ext', "clock.lost_by names 'brown'"),
        ("chips/rp2040.toml", 'port = "rp2"', 'port = "stm32"', "rp2040.toml: port is 'stm32'"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(folder, file, old, new, message):
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(OutpostError) as refused:
        load_board("rpi_pico_w", folder)
    assert message in refused.value.message
    assert refused.value.fix
    assert refused.value.exit_code == 2


def test_partitions_may_not_overlap(folder):
    path = folder / "esp32_generic.toml"
    path.write_text(path.read_text().replace("offset = 0x9000", "offset = 0xA000"))
    with pytest.raises(OutpostError, match="phy_init overlaps"):
        load_board("esp32_generic", folder)


def test_an_unknown_board_lists_the_known_ones():
    with pytest.raises(OutpostError) as refused:
        load_board("esp64")
    assert "rpi_pico_w" in (refused.value.fix or "")
