"""Scenarios: what happens to a board over days, as TOML, on the world's virtual time.

A scenario is pure: given the seconds since its start and the charge drawn so far it says what
every world value is, and when the next one changes.  The bench asks at each boot, and the chip
stops for an answer at each change in between, so a fast month sees the same world as a slow one.

    days = 30
    step_s = 60                     # how often signals move while the board is awake

    [signals."air.temperature_mc"]  # mean + day * cos(hour from 15:00) + noise + trend
    mean = 12000
    day = 6000
    noise = 200
    per_day = -50
    [[interval]]                    # a value for a while; again and again with every_s
    name = "wifi.up"
    value = 0
    start_s = 7200
    duration_s = 3600
    every_s = 86400
    [[event]]                       # power_cycle, brown_out, press_reset, or cut_power at an op
    at_s = 90000
    what = "cut_power"
    argument = 5
    [battery]                       # a world value that falls with the charge drawn
    name = "battery.millivolts"
    capacity_mah = 2500
    full = 4200
    empty = 3300
    [clock]
    drift_ppm = 20
"""

from __future__ import annotations

import math
import tomllib
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from outpost.errors import ExitCode, OutpostError

_SHIPPED = Path(__file__).resolve().parent / "scenarios"
_DAY_S = 86400
_WARMEST_S = 15 * 3600
_EVENTS = ("power_cycle", "brown_out", "press_reset", "cut_power")


@dataclass(frozen=True)
class Signal:
    mean: int
    day: int = 0
    noise: int = 0
    per_day: int = 0

    def at(self, name: str, at_s: int, step_s: int) -> int:
        angle = 2 * math.pi * (at_s - _WARMEST_S) / _DAY_S
        # Noise is a function of name and step: a run can be repeated, and asked in any order.
        draw = zlib.crc32(f"{name}:{at_s // step_s}".encode()) / 0xFFFFFFFF
        wave = self.day * math.cos(angle) + self.noise * (2 * draw - 1)
        return round(self.mean + wave + self.per_day * at_s / _DAY_S)


@dataclass(frozen=True)
class Interval:
    name: str
    value: int
    start_s: int
    duration_s: int
    every_s: int = 0
    otherwise: int = 1

    def _phase(self, at_s: int) -> int:
        since = at_s - self.start_s
        return since % self.every_s if self.every_s and since >= 0 else since

    def at(self, at_s: int) -> int:
        return self.value if 0 <= self._phase(at_s) < self.duration_s else self.otherwise

    def next_change(self, at_s: int) -> int | None:
        phase = self._phase(at_s)
        if phase < 0:
            return self.start_s
        if phase < self.duration_s:
            return at_s + self.duration_s - phase
        return at_s + self.every_s - phase if self.every_s else None


@dataclass(frozen=True)
class Happening:
    at_s: int
    what: str
    argument: int = 0
    mode: str = "lost"


@dataclass(frozen=True)
class Battery:
    name: str
    capacity_mah: int
    full: int
    empty: int

    def at(self, drawn_mah: float) -> int:
        left = max(0.0, 1 - drawn_mah / self.capacity_mah)
        return round(self.empty + (self.full - self.empty) * left)


@dataclass(frozen=True)
class Scenario:
    days: float = 1.0
    step_s: int = 60
    signals: tuple[tuple[str, Signal], ...] = ()
    intervals: tuple[Interval, ...] = ()
    events: tuple[Happening, ...] = ()
    battery: Battery | None = None
    drift_ppm: int = 0

    @property
    def end_s(self) -> int:
        return int(self.days * _DAY_S)

    def values(self, at_s: int, drawn_mah: float = 0.0) -> dict[str, int]:
        """Every world value at `at_s`; where two intervals name one value, the last that is on."""
        found = {name: signal.at(name, at_s, self.step_s) for name, signal in self.signals}
        for interval in self.intervals:
            value = interval.at(at_s)
            if value != interval.otherwise or interval.name not in found:
                found[interval.name] = value
        if self.battery:
            found[self.battery.name] = self.battery.at(drawn_mah)
        return found

    def next_change(self, at_s: int) -> int:
        """The first second after `at_s` at which something differs, at most the scenario's end."""
        candidates = [self.end_s]
        if self.signals or self.battery:
            candidates.append(at_s - at_s % self.step_s + self.step_s)
        candidates += [c for i in self.intervals if (c := i.next_change(at_s)) is not None]
        candidates += [event.at_s for event in self.events if event.at_s > at_s]
        return min(max(candidate, at_s + 1) for candidate in candidates)

    def due(self, after_s: int, until_s: int) -> list[Happening]:
        """The events in (after_s, until_s]."""
        return [event for event in self.events if after_s < event.at_s <= until_s]


def load_scenario(path: Path | str) -> Scenario:
    """Read a scenario file, or one that comes along, by its name; OutpostError names file, key and
    remedy."""
    path = _SHIPPED / f"{path}.toml" if str(path) in shipped() else Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OutpostError(
            "scenario-syntax", f"{path}: {error}", "correct the file", ExitCode.USAGE
        ) from error
    return _parse(table, path)


def shipped() -> list[str]:
    """Names of the scenarios that come along."""
    return sorted(path.stem for path in _SHIPPED.glob("*.toml"))


def _parse(table: dict[str, Any], path: Path) -> Scenario:
    known = ("days", "step_s", "signals", "interval", "event", "battery", "clock")
    for key in table:
        if key not in known:
            raise _bad(path, key, f"is not known; use one of {', '.join(known)}")
    signals = tuple(
        (name, _make(Signal, entry, path, f"signals.{name}"))
        for name, entry in table.get("signals", {}).items()
    )
    events = _rows(Happening, table, "event", path)
    for event in events:
        if event.what not in _EVENTS:
            raise _bad(path, "event.what", f"is {event.what!r}; use one of {', '.join(_EVENTS)}")
    battery = table.get("battery")
    return Scenario(
        days=_number(table, "days", 1.0, path),
        step_s=int(_number(table, "step_s", 60, path)),
        signals=signals,
        intervals=_rows(Interval, table, "interval", path),
        events=tuple(sorted(events, key=lambda event: event.at_s)),
        battery=_make(Battery, battery, path, "battery") if battery else None,
        drift_ppm=int(_number(table.get("clock", {}), "drift_ppm", 0, path)),
    )


_Kind = TypeVar("_Kind")


def _rows(kind: type[_Kind], table: dict[str, Any], key: str, path: Path) -> tuple[_Kind, ...]:
    return tuple(
        _make(kind, entry, path, f"{key}[{n}]") for n, entry in enumerate(table.get(key, []))
    )


def _make(kind: type[_Kind], entry: Any, path: Path, where: str) -> _Kind:
    if not isinstance(entry, dict):
        raise _bad(path, where, "is not a table")
    names = {item.name: item.type for item in fields(kind)}  # type: ignore[arg-type]
    for key, value in entry.items():
        if key not in names:
            raise _bad(path, f"{where}.{key}", f"is not known; use {', '.join(names)}")
        if type(value).__name__ != names[key]:
            raise _bad(path, f"{where}.{key}", f"must be of type {names[key]}")
    try:
        return kind(**entry)
    except TypeError as error:
        raise _bad(path, where, f"is incomplete: {error}") from error


def _number(table: dict[str, Any], key: str, default: float, path: Path) -> float:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _bad(path, key, "must be a number")
    if value <= 0 and key != "drift_ppm":
        raise _bad(path, key, "must be above 0")
    return float(value)


def _bad(path: Path, key: str, what: str) -> OutpostError:
    return OutpostError("scenario-invalid", f"{path}: {key} {what}", f"{key}", ExitCode.USAGE)
