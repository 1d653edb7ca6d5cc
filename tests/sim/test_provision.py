"""Provisioning of simulated boards through the raw REPL: the real VM makes the key."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from littlefs import LittleFS
from loader import cbor
from outpost import factory
from outpost.boards import load_board
from outpost.errors import OutpostError
from outpost.factory import link
from outpost.factory.audit import AuditLog
from outpost.factory.journal import Journal
from outpost.fleet.fleet import Fleet, FleetConfig
from outpost.sim import SimBoard, Wiring

from tests.host import signed_build

BOARDS = ("esp32_generic", "rpi_pico_w")
SETTINGS = factory.DeviceSettings(
    "127.0.0.1", 8883, "http://127.0.0.1:1/update", (factory.Wifi("sim", "simulated"),)
)
BME280 = {"model": "bme280", "bus": "i2c0", "address": 0x76}


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    folder = tmp_path / "fleet"
    Fleet.create(folder, signed_build.ceremony().folder, FleetConfig()).close()
    return folder


def config(tmp_path: Path, fleet: Path, scan: bool = False) -> factory.StationConfig:
    build_dir = signed_build.weather().result.folder
    return factory.StationConfig(tmp_path / "station", build_dir, fleet, SETTINGS, scan=scan)


@pytest.fixture
def flash(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    name = request.node.callspec.params["name"]
    path = tmp_path / f"{name}.flash"
    shutil.copyfile(signed_build.weather().image(name), path)
    return path


@pytest.fixture
def board(name: str, flash: Path) -> Iterator[SimBoard]:
    with SimBoard(name, flash) as made:
        yield made


def files_of(name: str, flash: Path) -> dict[str, bytes]:
    """What is on the board's flash now, read without it."""
    geometry = load_board(name).filesystem
    volume = LittleFS(
        block_size=geometry.block_bytes,
        block_count=geometry.block_count,
        cache_size=min(geometry.block_bytes, 4 * max(geometry.read_bytes, geometry.prog_bytes)),
        read_size=geometry.read_bytes,
        prog_size=geometry.prog_bytes,
        mount=False,
    )
    volume.context.buffer = bytearray(flash.read_bytes())
    volume.mount()
    found = {}
    for folder, _, names in volume.walk("/data"):
        for entry in names:
            path = f"{folder.rstrip('/')}/{entry}"
            with volume.open(path, "rb") as file:
                found[path] = file.read()
    return found


@pytest.mark.vm
@pytest.mark.parametrize("name", BOARDS)
def test_a_board_gets_its_identity(
    name: str, board: SimBoard, flash: Path, tmp_path: Path, fleet: Path
) -> None:
    steps: list[str] = []
    done = factory.provision(
        board.repl(), config(tmp_path, fleet), lambda unit, state: steps.append(state)
    )
    assert steps == ["FLASHED", "KEYED", "CERTIFIED", "WRITTEN", "SELF_TESTED", "SEALED"]
    assert done.board == name and done.uid == board.uid
    board.wait_for("main", timeout=20)  # it was reset, and starts the application
    again = factory.provision(board.repl(), config(tmp_path, fleet))
    assert again.already and again.device_id == done.device_id
    board.stop()
    check(name, flash, done.device_id, tmp_path)
    with Fleet.open(fleet) as opened:
        device = opened.registry.devices.get(done.device_id)
    assert (device.board, device.hw_uid, device.product) == (name, done.uid, "weather")


def check(name: str, flash: Path, device_id: str, tmp_path: Path) -> None:
    files = files_of(name, flash)
    certificate = x509.load_der_x509_certificate(files["/data/id/cert.der"])
    assert certificate.subject.rfc4514_string() == f"CN={device_id}"
    assert cbor.decode(files["/data/device.cbor"])["broker"] == {"host": "127.0.0.1", "port": 8883}
    assert not [path for path in files if path.endswith((".next", ".tmp"))]
    kept = b"".join(p.read_bytes() for p in (tmp_path / "station").iterdir())
    assert files["/data/id/key.der"][-97:-65] not in kept
    AuditLog(tmp_path / "station" / "audit.jsonl").verify()


@pytest.mark.vm
@pytest.mark.parametrize("name", ["rpi_pico_w"])
def test_the_sensor_must_answer(name: str, flash: Path, tmp_path: Path, fleet: Path) -> None:
    with SimBoard(name, flash) as bare, pytest.raises(OutpostError) as caught:
        factory.provision(bare.repl(), config(tmp_path, fleet, scan=True))
    assert caught.value.code == "self-test-i2c"
    with SimBoard(name, flash, wiring=Wiring(devices=(BME280,))) as wired:
        done = factory.provision(wired.repl(), config(tmp_path, fleet, scan=True))
    assert done.resumed and set(done.steps_ms) == {"SELF_TESTED", "SEALED"}


@pytest.mark.vm
@pytest.mark.parametrize("name", ["rpi_pico_w"])
def test_power_cuts_on_the_board(
    name: str,
    board: SimBoard,
    flash: Path,
    tmp_path: Path,
    fleet: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The board loses power inside flash operations of its identity; each run resumes the last."""
    monkeypatch.setattr(link, "_SCRIPT_TIMEOUT_S", 2)
    cuts = 0
    board.wait_for("line:not provisioned", timeout=20)
    for at_op, mode in ((5, "torn"), (6, "lost"), (7, "after"), (9, "torn"), (11, "lost")):
        board.cut_power(at_op, mode)
        try:
            factory.provision(board.repl(), config(tmp_path, fleet))
        except OutpostError as error:
            assert error.exit_code == 4, error.code
            cuts += 1
        board.wait_for("main", timeout=20)
    board.cut_power(0)
    done = factory.provision(board.repl(), config(tmp_path, fleet))
    assert cuts >= 3
    board.stop()
    check(name, flash, done.device_id, tmp_path)
    journal = Journal(tmp_path / "station" / "journal.db")
    assert len(journal.units()) == 1
    journal.close()
