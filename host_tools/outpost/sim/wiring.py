"""What surrounds a simulated chip: parts on its buses, switched rails, networks, names."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class AccessPoint:
    """A Wi-Fi network in reach; signal and outages are world values "wifi.<n>.rssi_dbm", ".up"."""

    ssid: str
    psk: str = field(default="", repr=False)
    rssi_dbm: int = -55
    channel: int = 6
    bssid: str = "020000000001"
    hidden: bool = False


@dataclass(frozen=True)
class Wiring:
    """`devices` are dicts of model, name, bus and address (or pin, pins, cs) per part.

    `rails` are (pin, microamperes) of supplies that the program switches; `hosts` maps names that
    the board resolves to an address of the host, with a port where it is another one; `models` are
    files with a `Part` each (see chip/bus.py, imported as `chip.bus`) for parts of one's own.
    """

    devices: Sequence[Mapping[str, Any]] = ()
    access_points: Sequence[AccessPoint] = (AccessPoint("sim", "simulated"),)
    rails: Sequence[tuple[int, int]] = ()
    hosts: Mapping[str, str] = field(default_factory=dict)
    models: Sequence[Path] = ()

    def with_product(self, product: Path) -> Wiring:
        """The same with the parts that `product.toml` names: the model is called as the driver."""
        table = tomllib.loads(product.read_text(encoding="utf-8"))
        parts = [_part(sensor) for sensor in table.get("sensors", [])]
        return replace(self, devices=[*self.devices, *parts])


def _part(sensor: Mapping[str, Any]) -> dict[str, Any]:
    wanted = ("name", "bus", "address", "pin", "pins", "cs", "rom", "variant")
    return {"model": sensor["driver"], **{key: sensor[key] for key in wanted if key in sensor}}
