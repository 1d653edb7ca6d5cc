"""A battery node from factory to the end of a scenario: fleet, provisioning, a board in fast time.

`Field` owns the fleet and the folder; `run` plays a scenario on one provisioned board and returns
what the board's meter, its flash, its RTC memory and the registry say.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from outpost import build
from outpost.factory import DeviceSettings, StationConfig, Wifi, provision
from outpost.fleet.server import FleetServer
from outpost.signing import Ceremony, sign_file
from outpost.sim import SimBoard, Wiring
from outpost.sim.accounts import Taken
from outpost.sim.scenario import Scenario

BATTERY_PRODUCT = Path(__file__).resolve().parent / "products" / "battery"


@dataclass
class Field:
    """A fleet, a built and signed product, and boards in the field."""

    folder: Path
    product: Path = BATTERY_PRODUCT
    overlay: Path | None = None
    boards: list[SimBoard] = field(default_factory=list)

    def open(self) -> Field:
        trust = self.folder / "trust"
        self.ceremony = Ceremony.create(trust, threshold=1, root_keys=1, plain=True)
        self.server = FleetServer(self.folder / "fleet", trust=self.folder / "trust")
        self.server.start()
        return self

    def close(self) -> None:
        for board in self.boards:
            board.stop()
        self.server.stop()

    def __enter__(self) -> Field:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def release(self, version: str = "1.0.0") -> Any:
        result = build.build(
            self.product, self.folder / "build", version=version, overlay=self.overlay
        )
        sign_file("release", result.payload, result.signed, self.ceremony.key("release"))
        self.server.publish(result.folder)
        return result

    def provisioned(self, board: str) -> tuple[Path, str]:
        """A flash image with an identity, and the device's id."""
        result = self.release()
        image = build.factory_image(result.folder, board, self.ceremony.root_path(1))
        flash = self.folder / f"{board}.img"
        shutil.copyfile(image, flash)
        wiring = Wiring().with_product(self.product / "product.toml")
        settings = DeviceSettings(
            "127.0.0.1",
            self.server.broker_port,
            self.server.update_url,
            wifi=(Wifi("sim", "simulated"),),
            ntp=("192.0.2.123",),
        )
        config = StationConfig(
            self.folder / "station", result.folder, self.folder / "fleet", settings,
            operator="test", station="bench-1",
        )  # fmt: skip
        with SimBoard(board, flash, wiring=wiring, heap=None) as sim:
            done = provision(sim.repl(), config)
        return flash, done.device_id

    def run(
        self,
        board: str,
        flash: Path,
        scenario: Scenario,
        limit_s: float,
        on_line: Callable[[str], None] | None = None,
    ) -> tuple[SimBoard, Taken]:
        """Play the scenario to its end; the board is stopped, its meter and files are readable."""
        taken = Taken()

        def heard(line: str) -> None:
            taken.line(line)
            if on_line:
                on_line(line)

        wiring = Wiring().with_product(self.product / "product.toml")
        sim = SimBoard(
            board, flash, wiring=wiring, heap=None, scenario=scenario, time="modelled",
            on_line=heard,
        )  # fmt: skip
        self.run_board(sim, limit_s)
        return sim, taken

    def run_board(self, sim: SimBoard, limit_s: float) -> None:
        """Start a board, let its scenario come to its end, stop it."""
        self.boards.append(sim)
        sim.start()
        deadline = time.monotonic() + limit_s
        while not sim.ended and time.monotonic() < deadline:
            time.sleep(0.02)
        ended = sim.ended
        sim.stop()
        if not ended:
            raise TimeoutError(f"not over in {limit_s} s: {list(sim.lines)[-10:]}")
