"""The factory: gives boards their identity, and keeps the journal and the audit log of it.

settings = DeviceSettings("broker.example", 8883, "http://fleet.example/update", wifi=(Wifi("net",
"…"),)) config = StationConfig(folder="station", build_dir="build/weather-1.0.0", ca_dir="ca",
settings=settings) result = provision("socket://127.0.0.1:4321", config)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from outpost.factory.network import Network, Wifi
from outpost.factory.settings import DeviceSettings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from outpost.factory.journal import Unit
    from outpost.factory.station import ProvisionResult, Station

__all__ = [
    "DeviceSettings",
    "Network",
    "StationConfig",
    "Wifi",
    "load_settings",
    "open_station",
    "provision",
]


@dataclass(frozen=True)
class StationConfig:
    """What a station works with: its own folder, the signed build, the CA's folder and the
    devices' settings.
    """

    folder: Path | str
    build_dir: Path | str
    ca_dir: Path | str
    """A fleet's folder (devices are then entered in its registry), or that of a CA alone."""
    settings: DeviceSettings
    operator: str = ""
    station: str = ""
    serials: tuple[int, int] = (1, 999_999)
    """First and last serial number this station may give out; stations of one fleet share none."""
    scan: bool = True
    """Whether every sensor of the product on an I2C bus must answer."""


def open_station(config: StationConfig) -> Station:
    """A Station for one product, ready for any number of boards."""
    from outpost.build.release import read_build
    from outpost.factory.authority import open_authority
    from outpost.factory.station import Station
    from outpost.factory.steps import Plan

    build_dir = Path(config.build_dir)
    figures = read_build(build_dir)
    manifest = (build_dir / "release.cose").read_bytes()
    plan = Plan(
        product=figures["product"],
        manifest_sha256=hashlib.sha256(manifest).hexdigest(),
        settings=config.settings,
        block=config.serials,
        authority=open_authority(Path(config.ca_dir), config.operator),
        i2c={bus: tuple(parts) for bus, parts in figures["i2c"].items()} if config.scan else None,
    )
    return Station.at(Path(config.folder), plan, config.operator, config.station)


def provision(
    port: str,
    config: StationConfig,
    on_step: Callable[[Unit, str], None] | None = None,
    again: str = "",
) -> ProvisionResult:
    """Provision the board at `port`; resumes a unit that was begun, and leaves a finished one."""
    station = open_station(config)
    station.on_step = on_step
    try:
        return station.provision(port, again)
    finally:
        station.journal.close()
