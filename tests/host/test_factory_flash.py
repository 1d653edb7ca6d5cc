"""Flashing: the plan, the port it goes to, UF2 files, labels."""

import struct
import sys
from pathlib import Path

import pytest
from outpost.boards import load_board
from outpost.errors import OutpostError
from outpost.factory import flash, label, ports, serials, uf2
from outpost.factory.ports import Port

ESP32 = load_board("esp32_generic")
PICO = load_board("rpi_pico_w")


def image(tmp_path: Path, board: str = "esp32_generic") -> Path:
    path = tmp_path / f"{board}.img"
    path.write_bytes(b"\xff" * load_board(board).filesystem.bytes)
    return path


def test_esp32_plan(tmp_path: Path) -> None:
    path = image(tmp_path)
    runtime = tmp_path / "firmware.bin"
    plan = flash.plan_flash(ESP32, path, "/dev/ttyUSB7", runtime)
    (command,) = plan.commands
    assert command[:3] == (sys.executable, "-m", "esptool")
    assert command[command.index("--port") + 1] == "/dev/ttyUSB7"
    assert command[command.index("write-flash") :] == (
        "write-flash",
        "--no-progress",
        "0x1000",
        str(runtime),
        "0x200000",
        str(path),
    )


def test_an_image_of_another_board(tmp_path: Path) -> None:
    with pytest.raises(OutpostError) as caught:
        flash.plan_flash(ESP32, image(tmp_path, "rpi_pico_w"), "port")
    assert caught.value.code == "image-size"


def test_rp2_by_picotool_and_a_plan_writes_nothing(tmp_path: Path) -> None:
    path = image(tmp_path, "rpi_pico_w")
    plan = flash.plan_flash(PICO, path, "picotool")
    assert plan.commands == (
        ("picotool", "load", "--verify", "--execute", str(path.with_suffix(".uf2"))),
    )
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_rp2_by_its_drive(tmp_path: Path) -> None:
    path = image(tmp_path, "rpi_pico_w")
    with pytest.raises(OutpostError) as caught:
        flash.plan_flash(PICO, path, str(tmp_path))
    assert (caught.value.code, caught.value.exit_code) == ("no-bootsel", 3)
    drive = tmp_path / "RPI-RP2"
    drive.mkdir()
    (drive / "INFO_UF2.TXT").write_text("UF2 Bootloader v2.0\n")
    flash.run_flash(flash.plan_flash(PICO, path, str(drive)))
    pages = uf2.decode((drive / "rpi_pico_w.uf2").read_bytes())
    assert min(pages) == 0x10000000 + PICO.filesystem.offset
    assert len(pages) * 256 == PICO.filesystem.bytes


@pytest.mark.parametrize(("status", "exit_code"), [(1, 4), (2, 3)])
def test_a_tool_that_fails(status: int, exit_code: int) -> None:
    script = f"print('A fatal error occurred: no'); raise SystemExit({status})"
    plan = flash.FlashPlan("b", "p", ((sys.executable, "-c", script),))
    with pytest.raises(OutpostError) as caught:
        flash.run_flash(plan)
    assert caught.value.exit_code == exit_code
    assert "A fatal error occurred" in caught.value.message


def test_a_tool_that_is_not_there() -> None:
    with pytest.raises(OutpostError) as caught:
        flash.run_flash(flash.FlashPlan("b", "p", (("no-such-tool-at-all",),)))
    assert (caught.value.code, caught.value.exit_code) == ("tool-missing", 2)


def test_its_output_is_passed_on() -> None:
    seen: list[str] = []
    plan = flash.FlashPlan("b", "p", ((sys.executable, "-c", "print('one'); print('two')"),))
    flash.run_flash(plan, seen.append)
    assert seen == ["one", "two"]


# --- ports

CP210X = Port("/dev/ttyUSB0", "10c4:ea60", "0001", "1-1.2")
CP210X_2 = Port("/dev/ttyUSB1", "10c4:ea60", "0002", "1-1.3")
MODEM = Port("/dev/ttyACM0", "1199:9091", "0003", "1-2")


def test_auto_wants_exactly_one() -> None:
    assert ports.choose("auto", ESP32, [CP210X, MODEM]) == "/dev/ttyUSB0"
    with pytest.raises(OutpostError) as none:
        ports.choose("auto", ESP32, [MODEM])
    with pytest.raises(OutpostError) as several:
        ports.choose("auto", ESP32, [CP210X, CP210X_2, MODEM])
    assert (none.value.code, none.value.exit_code) == ("port-none", 3)
    assert (several.value.code, several.value.exit_code) == ("port-ambiguous", 3)
    assert "/dev/ttyUSB0, /dev/ttyUSB1" in several.value.message


def test_by_serial_and_by_place() -> None:
    both = [CP210X, CP210X_2]
    assert ports.choose("id:0002", ESP32, both) == "/dev/ttyUSB1"
    assert ports.choose("loc:1-1.2", ESP32, both) == "/dev/ttyUSB0"
    with pytest.raises(OutpostError):
        ports.choose("id:0009", ESP32, both)


def test_a_named_port_is_not_looked_up() -> None:
    assert ports.choose("socket://127.0.0.1:1", PICO, []) == "socket://127.0.0.1:1"


# --- UF2


def test_uf2_round_trip_and_layout() -> None:
    data = bytes(range(256)) * 3
    made = uf2.encode(data, 0x10001000)
    assert len(made) == 3 * 512
    head = struct.unpack_from("<8I", made, 512)
    assert head == (0x0A324655, 0x9E5D5157, 0x2000, 0x10001100, 256, 1, 3, 0xE48BFF56)
    assert struct.unpack_from("<I", made, 1020)[0] == 0x0AB16F30
    pages = uf2.decode(made)
    assert b"".join(pages[at] for at in sorted(pages)) == data


def test_uf2_join_and_overlap() -> None:
    runtime = uf2.encode(b"\x01" * 512, 0x10000000)
    files = uf2.encode(b"\x02" * 256, 0x10010000)
    joined = uf2.join(runtime, files)
    assert sorted(uf2.decode(joined)) == [0x10000000, 0x10000100, 0x10010000]
    numbers = [struct.unpack_from("<2I", joined, at + 20) for at in range(0, len(joined), 512)]
    assert numbers == [(0, 3), (1, 3), (2, 3)]
    with pytest.raises(OutpostError) as caught:
        uf2.join(runtime, uf2.encode(b"\x02" * 256, 0x10000100))
    assert caught.value.code == "uf2-overlap"


@pytest.mark.parametrize("data", [b"", b"x" * 511, b"x" * 512])
def test_what_is_no_uf2(data: bytes) -> None:
    with pytest.raises(OutpostError) as caught:
        uf2.decode(data)
    assert caught.value.code == "uf2"


# --- labels


def test_a_label() -> None:
    import datetime
    import xml.etree.ElementTree as ElementTree

    device = serials.device_id("weather", 1, datetime.date(2026, 11, 21))
    assert label.payload(device, "fleet.example") == f"HTTPS://FLEET.EXAMPLE/D/{device.upper()}"
    drawn = label.svg(device, "fleet.example", ("rpi_pico_w 2d21 <&>",))
    tree = ElementTree.fromstring(drawn)
    texts = [node.text for node in tree.iter() if node.tag.endswith("text")]
    assert texts == [device.upper(), "rpi_pico_w 2d21 <&>"]
    assert any(node.tag.endswith("path") for node in tree.iter())
    assert label.read_scan(label.payload(device, "fleet.example")) == device


def test_a_label_wants_a_serial_and_a_host() -> None:
    with pytest.raises(OutpostError):
        label.payload("weather-2647-000001-0", "fleet.example")
    good = serials.device_id("weather", 1, __import__("datetime").date(2026, 11, 21))
    with pytest.raises(OutpostError) as caught:
        label.payload(good, "fleet.example?x=1")
    assert caught.value.code == "label-host"
