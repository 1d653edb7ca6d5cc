"""How long a product's sensors keep a wake awake, and what their switched supplies take meanwhile.

Follows `node.tasks.sense`: all sensors are started at once, then collected in their order, so
conversions overlap; one behind a switched supply (`node.tasks.switched`) is started when it is
its turn and its supply has been on for `warm_ms`. The times are the drivers' own constants.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from outpost.build.configure import driver_of
from outpost.build.product import Product
from outpost.build.reach import Tree
from outpost.paths import project_root

_EXCHANGE_MS = 5  # commands, answers and the wait in between are rounded up to the task's step
_DEFAULT_MS = 10  # a driver that does not say


@dataclass(frozen=True)
class Sensing:
    """One round. `rail_uams` is the charge of all switched supplies, in microampere-ms."""

    awake_ms: int = _DEFAULT_MS + _EXCHANGE_MS
    rail_uams: int = 0
    unpriced: tuple[str, ...] = ()
    """Rails whose current product.toml does not name."""


def sensing_of(product: Product) -> Sensing:
    """The round of a product's sensors, with the drivers of its folder."""
    tree = Tree()
    tree.add(project_root() / "firmware" / "node", "node")
    tree.add(product.folder / "drivers", "node/drivers")
    return round_of(
        (sensor.get("options", {}), conversion_ms(driver_of(sensor["driver"], tree), sensor))
        for sensor in product.sensors
    )


def conversion_ms(driver: ModuleType, sensor: Mapping[str, Any]) -> int:
    """From a start to a value, by the constants of the driver's module."""
    options = sensor.get("options", {})
    name = sensor["driver"]
    if name == "ads1115":  # one input after the other
        return int(driver._CONVERTING_MS) * len(options.get("inputs", range(4)))
    if name == "bme680":
        return int(driver._CONVERTING_MS) + int(options.get("heater_ms", 150))
    if name == "scd4x":
        return int(driver._PERIOD_LOW_POWER_MS if options.get("low_power") else driver._PERIOD_MS)
    if name == "hx711":
        return int(driver._PERIOD_MS)
    if name in ("battery", "soil"):
        return 0
    return int(getattr(driver, "_READY_MS", _DEFAULT_MS))


def round_of(sensors: Iterable[tuple[Mapping[str, Any], int]]) -> Sensing:
    """`sensors` are options and conversion time (ms) of each, in their order."""
    done_ms = 0
    off_ms: dict[str, int] = {}
    current_ua: dict[str, int] = {}
    for options, converting_ms in sensors:
        rail = str(options.get("rail", ""))
        if not rail:
            done_ms = max(done_ms, converting_ms)
            continue
        done_ms = max(done_ms, int(options.get("warm_ms", 0))) + converting_ms
        off_ms[rail] = done_ms + _EXCHANGE_MS
        current_ua[rail] = current_ua.get(rail, 0) + int(options.get("rail_ua", 0))
    return Sensing(
        done_ms + _EXCHANGE_MS,
        sum(ms * current_ua[rail] for rail, ms in off_ms.items()),
        tuple(rail for rail, microamperes in current_ua.items() if not microamperes),
    )
