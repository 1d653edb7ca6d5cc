"""A whole node on a simulated board, provisioned by writing its flash: product, keys, settings.

For tests of what the composition does with its settings. The factory's own way to provision is
tested elsewhere and takes its time.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outpost import build
from outpost.boards import load_board
from outpost.build.release import BuildResult
from outpost.build.volume import format_image
from outpost.factory import DeviceSettings, Wifi
from outpost.sim import SimBoard, Wiring

from tests.host import signed_build
from tests.sim.mqtt_harness import Broker, Pki, make_pki

DEVICE = "dev-1"


@dataclass
class Workshop:
    """Builds the weather product, always connected, with some lines of product.toml changed, and
    makes boards."""

    folder: Path
    product: str = ""
    boards: tuple[str, ...] = ("esp32_generic",)

    def __post_init__(self) -> None:
        self.pki: Pki = make_pki(self.folder)
        source = self.folder / "weather"
        shutil.copytree(signed_build.WEATHER, source)
        text = (source / "product.toml").read_text()
        named = ", ".join(f'"{name}"' for name in self.boards)
        own = [f'[boards.{name}]\nmode = "powered"\n' for name in self.boards]
        text = signed_build.for_boards(text, named, "".join(own))
        (source / "product.toml").write_text(text.replace("[outbox]", self.product + "\n[outbox]"))
        self.result: BuildResult = build.build(source, self.folder / "build", source="test")
        signed_build.sign(self.result, signed_build.ceremony())

    def broker(self, extra: str = "") -> Broker:
        folder = self.folder / f"broker{len(list(self.folder.glob('broker*')))}"
        folder.mkdir()
        return Broker(folder, self.pki, extra)

    def files(self, board: str, settings: bytes) -> dict[str, bytes]:
        """The factory image's files, with the identity and settings of one device."""
        root = signed_build.ceremony().root_path(1)
        image = build.factory_image(self.result.folder, board, root)
        return {
            **files_of(board, image),
            "/data/device.cbor": settings,
            "/data/id/key.der": self.pki.device.file("key.der").read_bytes(),
            "/data/id/cert.der": self.pki.device.file("crt.der").read_bytes(),
            "/data/id/ca.der": self.pki.ca.file("crt.der").read_bytes(),
        }

    def make(self, board: str, settings: DeviceSettings, **options: Any) -> SimBoard:
        flash = self.folder / f"{board}{len(list(self.folder.glob('*.img')))}.img"
        contents = self.files(board, settings.encode(DEVICE))
        flash.write_bytes(format_image(load_board(board), contents))
        sensors = signed_build.WEATHER / "product.toml"
        wiring = options.pop("wiring", Wiring()).with_product(sensors)
        return SimBoard(board, flash, wiring=wiring, **{"time": "fast", **options})


def settings_for(port: int, host: str = "localhost", **more: Any) -> DeviceSettings:
    """Settings of a device on the simulated access point."""
    given = {"wifi": (Wifi("sim", "simulated"),), "ntp": ("192.0.2.123",), **more}
    return DeviceSettings(host, port, "http://127.0.0.1:1/update", **given)


def files_of(board: str, image: Path) -> dict[str, bytes]:
    """{path: content} of a littlefs image."""
    from littlefs import LittleFS

    geometry = load_board(board).filesystem
    volume = LittleFS(
        block_size=geometry.block_bytes,
        block_count=geometry.block_count,
        cache_size=min(geometry.block_bytes, 4 * max(geometry.read_bytes, geometry.prog_bytes)),
        read_size=geometry.read_bytes,
        prog_size=geometry.prog_bytes,
        mount=False,
    )
    volume.context.buffer = bytearray(image.read_bytes())
    volume.mount()
    found = {}
    for folder, _, names in volume.walk("/"):
        for name in names:
            path = f"{folder.rstrip('/')}/{name}"
            with volume.open(path, "rb") as file:
                found[path] = file.read()
    return found
