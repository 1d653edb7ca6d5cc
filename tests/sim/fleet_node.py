"""A fleet server and one simulated board that belongs to it, for tests of what goes between them.

The board's flash is written as the factory leaves it, with a key made here. Needs mosquitto and
the VM.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from outpost import build
from outpost.boards import load_board
from outpost.build.volume import format_image
from outpost.factory import DeviceSettings, Wifi
from outpost.fleet.fleet import FleetConfig
from outpost.fleet.registry import Command, Event, Identity
from outpost.fleet.server import FleetServer
from outpost.fleet.sntp import SntpServer
from outpost.signing import cose, documents
from outpost.sim import SimBoard, Wiring

from tests.fleet_kit import make_csr
from tests.host import signed_build
from tests.sim.whole_node import files_of

ID = "weather-1"
PSK = "simulated-secret"
_PACE = {"sample_s": 1, "publish_s": 2, "heartbeat_s": 10, "deadline_s": 40}
_BME280 = {"model": "bme280", "bus": "i2c0", "address": 0x76}


def make_product(folder: Path, mode: str = "powered", **pace: int) -> Path:
    """The weather product at a test's pace; on a battery it connects at every wake."""
    shutil.copytree(signed_build.WEATHER, folder)
    recipe = folder / "product.toml"
    text = signed_build.in_mode(recipe.read_text(), mode)
    if mode == "battery":
        text = text.replace("[outbox]", "[battery]\nconnect_every = 1\nawake_s = 240\n\n[outbox]")
    for key, value in {**_PACE, **pace}.items():
        text = re.sub(rf"(?m)^{key} = \d+", f"{key} = {value}", text)
    recipe.write_text(text)
    return folder


def make_release(
    product: Path, target: Path, version: str, **more: Any
) -> build.release.BuildResult:
    result = build.build(product, target, version=version, source="test", **more)
    signed_build.sign(result, signed_build.ceremony())
    return result


class Weather(threading.Thread):
    """Moves the temperature at the sensor four times a second."""

    def __init__(self, sim: SimBoard) -> None:
        super().__init__(daemon=True)
        self._sim = sim
        self._done = threading.Event()

    def run(self) -> None:
        turn = 0
        while not self._done.wait(0.25):
            turn += 1
            self._sim.world["bme280.temperature_mc"] = 15000 + turn % 40 * 500

    def stop(self) -> None:
        self._done.set()
        self.join()


class Lab:
    """One fleet, one board: `with Lab(tmp_path) as lab`."""

    def __init__(
        self,
        folder: Path,
        board: str = "esp32_generic",
        config: FleetConfig | None = None,
        heap: int | None = 400_000,
        mode: str = "powered",
    ) -> None:
        """`heap` None: as much as the chip has."""
        self.heap = heap
        self.folder = folder
        self.board_name = board
        self.lines: list[str] = []
        self.on_line: Callable[[str], object] | None = None
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.server = FleetServer(folder / "fleet", signed_build.ceremony().folder, config)
        self.clock = SntpServer()
        self.flash = folder / "flash.img"
        self.sim: SimBoard | None = None
        self._weather: Weather | None = None
        self.product = make_product(folder / "product", mode)
        self.release = make_release(self.product, folder / "build", "1.0.0")

    def __enter__(self) -> Lab:
        self.server.start()
        self.clock.start()
        self.server.publish(self.release.folder)
        self._write_flash()
        wiring = Wiring(devices=[_BME280])
        self.sim = SimBoard(
            self.board_name, self.flash, wiring=wiring, on_line=self._heard, heap=self.heap
        )
        return self

    def _heard(self, line: str) -> None:
        self.lines.append(line)
        if self.on_line is not None:
            self.on_line(line)

    def __exit__(self, *_: object) -> None:
        assert self.sim
        if self._weather is not None:
            self._weather.stop()
        self.sim.stop()
        self.server.stop()
        self.clock.close()

    def _write_flash(self) -> None:
        image = build.factory_image(
            self.release.folder, self.board_name, signed_build.ceremony().root_path(1)
        )
        certificate = self.server.enroll(
            make_csr(self.key), Identity(ID, "weather", self.board_name, "00112233")
        )
        settings = DeviceSettings(
            "127.0.0.1",
            self.server.broker_port,
            self.server.update_url,
            wifi=(Wifi("sim", "simulated"), Wifi("other", PSK)),
            ntp=(f"127.0.0.1:{self.clock.port}",),
        )
        files = {
            **files_of(self.board_name, image),
            "/data/device.cbor": settings.encode(ID),
            "/data/id/key.der": self.key_der(),
            "/data/id/cert.der": certificate,
            "/data/id/ca.der": self.server.ca.ca_der,
        }
        self.flash.write_bytes(format_image(load_board(self.board_name), files))

    def key_der(self) -> bytes:
        """As the device writes it: with the public point."""
        from node.core import csr

        number = self.key.private_numbers().private_value
        return csr.key_der(number.to_bytes(32, "big"))

    @property
    def public(self) -> bytes:
        form = serialization.PublicFormat.UncompressedPoint
        return self.key.public_key().public_bytes(serialization.Encoding.X962, form)

    def start(self) -> Lab:
        assert self.sim
        self.sim.start()
        self.until(lambda: self.device.online and self.device.confirmed, "the device to be online")
        return self

    @property
    def device(self) -> Any:
        return self.server.registry.devices.get(ID)

    def until(self, condition: Callable[[], Any], what: str, timeout_s: float = 40) -> Any:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            time.sleep(0.1)
        boots = self.sim.resets[-8:] if self.sim else []
        said = "\n".join(self.lines[-40:])
        raise AssertionError(f"{what} did not come; boots {boots}; the board said:\n{said}")

    def command(self, verb: str, timeout_s: float = 40, **args: Any) -> Command:
        """Send a command and wait for its answer."""
        return self.answer(self.server.send_command(ID, verb, args), timeout_s)

    def answer(self, command_id: str, timeout_s: float = 40) -> Command:
        commands = self.server.registry.commands

        def answered() -> Command | None:
            found = commands.get(command_id)
            return found if found and found.ok is not None else None

        found: Command = self.until(answered, f"an answer to {command_id}", timeout_s)
        return found

    def weather_moves(self) -> None:
        """From now on no two readings are alike: each makes a row."""
        if self._weather is None:
            assert self.sim
            self._weather = Weather(self.sim)
            self._weather.start()

    def events(self, kind: str) -> list[Event]:
        return [e for e in self.server.registry.journal.events(ID) if e.type == kind]

    def files(self) -> dict[str, bytes]:
        return files_of(self.board_name, self.flash)


def ops_document(verb: str, command_id: str, device: str = ID, hours: float = 1) -> bytes:
    """What `outpost sign ops` writes: the word of the ops key."""
    payload = documents.ops(device, command_id, verb, int(time.time() + hours * 3600))
    return cose.sign("ops", payload, signed_build.ceremony().key("ops"))
