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
        """The same with the parts that `product.toml` names: the model is called as the driver.
        Supplies that it switches (gpio<number>) take what its `rail_ua` say."""
        sensors = tomllib.loads(product.read_text(encoding="utf-8")).get("sensors", [])
        parts = [part for sensor in sensors for part in _parts(sensor)]
        rails = dict(self.rails)
        for sensor in sensors:
            options = sensor.get("options", {})
            pin = _gpio(options.get("rail", ""))
            if isinstance(pin, int):
                rails[pin] = rails.get(pin, 0) + options.get("rail_ua", 0)
        return replace(self, devices=[*self.devices, *parts], rails=tuple(rails.items()))


def _parts(sensor: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is soldered for one [[sensors]]: a part, or the probes of a wire, one by one.

    The driver's options come along: a model with the same divider or span needs no second table.
    """
    options = sensor.get("options", {})
    wanted = ("name", "bus", "address", "pin", "pins", "cs", "rom", "variant")
    part = {**options, "model": sensor["driver"]}
    part |= {key: sensor[key] for key in wanted if key in sensor}
    if "pin" in part:
        part["pin"] = _gpio(part["pin"])
    if "clock" in options:  # bit-banged: data on the pin, the clock named in the options
        part["pins"] = {"data": part["pin"], "clk": _gpio(options["clock"])}
    if "probes" in options:
        named = options["probes"].items()
        return [{**part, "name": f"{part['name']}_{key}", "rom": rom} for key, rom in named]
    numbers = range(1, options.get("count", 1) + 1)
    if len(numbers) == 1:
        return [part]
    roms = [f"28{number:012x}" for number in numbers]  # in the order the driver counts them
    return [
        {**part, "name": f"{part['name']}_{number}", "rom": rom}
        for number, rom in zip(numbers, roms, strict=True)
    ]


def _gpio(pin: str | int) -> str | int:
    """The number in "gpio4"."""
    text = str(pin)
    return int(text[4:]) if text[:4] == "gpio" and text[4:].isdigit() else pin
