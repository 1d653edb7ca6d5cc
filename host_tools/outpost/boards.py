"""Boards as data: boards/<board>.toml and boards/chips/<chip>.toml as frozen dataclasses.

Owns the schema: a key that is not in it, a value of another type, a number out of range or a file
system that does not fit is refused with the file, the key and what to write instead.  Nothing here
knows what the values are used for.
"""

from __future__ import annotations

import dataclasses
import datetime
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from outpost.errors import OutpostError

_USAGE = 2
RESET_KINDS = (
    "power_on",
    "brownout",
    "external",
    "reset",
    "panic",
    "watchdog",
    "deepsleep",
    "soft",
)


def _between(low: int, high: int) -> Any:
    return field(metadata={"low": low, "high": high})


@dataclass(frozen=True)
class Gpio:
    pins: tuple[int, ...]
    input_only: tuple[int, ...]
    adc: tuple[int, ...]


@dataclass(frozen=True)
class Freq:
    default_mhz: int = _between(10, 1000)
    max_mhz: int = _between(10, 1000)
    slow_mhz: int = _between(1, 1000)
    """The clock that current_ua.active_slow was given for."""
    allowed_mhz: tuple[int, ...] = ()
    battery_mhz: tuple[int, ...] = ()
    """What power.cpu_mhz of a product may be."""


@dataclass(frozen=True)
class Wdt:
    min_ms: int = _between(1, 1000)
    max_ms: int = _between(0, 1 << 30)
    reconfigurable: bool = False


@dataclass(frozen=True)
class ResetCause:
    """What machine.reset_cause() reads after each kind of reset; 0 = what it read before."""

    power_on: int = _between(0, 15)
    brownout: int = _between(0, 15)
    external: int = _between(0, 15)
    reset: int = _between(0, 15)
    panic: int = _between(0, 15)
    watchdog: int = _between(0, 15)
    deepsleep: int = _between(0, 15)
    soft: int = _between(0, 15)


@dataclass(frozen=True)
class ChipClock:
    power_on: datetime.datetime
    lost_by: tuple[str, ...]
    deepsleep_drift_ppm: int = _between(-200000, 200000)


@dataclass(frozen=True)
class ChipFlash:
    erase_block_bytes: int = _between(256, 1 << 20)
    erase_us: int = _between(0, 10_000_000)
    program_page_us: int = _between(0, 1_000_000)


@dataclass(frozen=True)
class Current:
    """Microamperes; CPU states exclude each other, radio states come on top of them."""

    active: int = _between(0, 10_000_000)
    active_slow: int = _between(0, 10_000_000)
    light_sleep: int = _between(0, 10_000_000)
    deep_sleep: int = _between(0, 10_000_000)
    radio_idle: int = _between(0, 10_000_000)
    radio_connecting: int = _between(0, 10_000_000)
    radio_on: int = _between(0, 10_000_000)
    radio_rx: int = _between(0, 10_000_000)
    radio_tx: int = _between(0, 10_000_000)


@dataclass(frozen=True)
class Radio:
    join_ms: int = _between(0, 120_000)
    join_static_ms: int = _between(0, 120_000)
    phy_kbit_s: int = _between(1, 10_000_000)
    sensitivity_dbm: int = _between(-120, 0)


@dataclass(frozen=True)
class BootTime:
    rom_ms: int = _between(0, 60_000)
    deepsleep_wake_ms: int = _between(0, 60_000)


@dataclass(frozen=True)
class Work:
    """What the CPU needs for the two things that a wake cannot do without: modelled time."""

    load_us_per_kib: int = _between(0, 100_000)
    handshake_ms: int = _between(0, 60_000)


@dataclass(frozen=True)
class Quirks:
    tls_in_gc_heap: bool
    tls_heap_bytes: int = _between(0, 1 << 20)
    pem: bool = True
    reformats_unmountable: bool = False
    deepsleep_is_lightsleep: bool = False
    lightsleep_cap_ms: int = 0
    wlan_survives_lightsleep: bool = True


@dataclass(frozen=True)
class Chip:
    name: str
    port: str
    gpio: Gpio
    buses: Mapping[str, tuple[int, ...]]
    freq: Freq
    wdt: Wdt
    reset_cause: ResetCause
    clock: ChipClock
    flash: ChipFlash
    current_ua: Current
    radio: Radio
    boot: BootTime
    work: Work
    quirks: Quirks
    default_sys_path: tuple[str, ...]
    word_bits: int = _between(16, 64)
    float_bits: int = _between(32, 64)
    epoch: int = _between(1970, 2000)
    rtc_memory_bytes: int = _between(0, 2048)
    cpu_slowdown: int = _between(1, 10_000)

    def active_ua(self, mhz: int) -> int:
        """The CPU's current at another clock: CMOS takes a part that is proportional to it, so
        a straight line through the two clocks whose currents are known."""
        slow, fast = self.freq.slow_mhz, self.freq.default_mhz
        rise = self.current_ua.active - self.current_ua.active_slow
        return self.current_ua.active_slow + rise * (mhz - slow) // (fast - slow)


@dataclass(frozen=True)
class Filesystem:
    offset: int = _between(0, 1 << 30)
    bytes: int = _between(8192, 1 << 30)
    block_bytes: int = _between(256, 1 << 20)
    prog_bytes: int = _between(1, 4096)
    read_bytes: int = _between(1, 4096)

    @property
    def block_count(self) -> int:
        return self.bytes // self.block_bytes


@dataclass(frozen=True)
class Partition:
    name: str
    kind: str
    subtype: int = _between(0, 255)
    offset: int = _between(0, 1 << 30)
    bytes: int = _between(4096, 1 << 30)


@dataclass(frozen=True)
class Usb:
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ethernet:
    """A wired network instead of Wi-Fi. `kind`: empty for none, "w5500" for that chip on SPI, and
    "present" for a network that is there before the program starts: a plain socket."""

    kind: str = ""
    bus: str = ""
    cs: int = 0
    reset: int = -1
    interrupt: int = -1
    mhz: int = 20


@dataclass(frozen=True)
class Board:
    name: str
    title: str
    chip: Chip
    micropython_board: str
    machine: str
    filesystem: Filesystem
    usb: Usb
    heap_bytes: int = _between(16384, 1 << 26)
    flash_bytes: int = _between(65536, 1 << 30)
    partitions: tuple[Partition, ...] = ()
    pins: Mapping[str, int] = field(default_factory=dict)
    ethernet: Ethernet = field(default_factory=Ethernet)


def boards_dir() -> Path:
    """The checkout's boards/ folder."""
    return Path(__file__).resolve().parents[2] / "boards"


def board_names(folder: Path | None = None) -> list[str]:
    return sorted(path.stem for path in (folder or boards_dir()).glob("*.toml"))


@lru_cache(maxsize=64)
def load_board(name: str, folder: Path | None = None) -> Board:
    """The board called `name`, checked; raises OutpostError (exit code 2)."""
    folder = folder or boards_dir()
    path = folder / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(board_names(folder))
        raise OutpostError(
            "board-unknown", f"no board is called {name!r}", f"choose one of: {known}", _USAGE
        )
    table = _read(path)
    chip_path = folder / "chips" / f"{table.get('chip')}.toml"
    if not chip_path.is_file():
        raise _bad(path, "chip", "names no file in boards/chips", "write one of their names")
    chip = _read(chip_path)
    _override(chip, table, path)
    table["chip"] = _build(Chip, chip, chip_path, "")
    board: Board = _build(Board, table, path, "")
    _check_chip(board.chip, chip_path)
    _check_board(board, path)
    return board


def _override(chip: dict[str, Any], table: dict[str, Any], path: Path) -> None:
    """A board may correct its chip's [quirks], [current_ua], [radio] and [boot], key by key."""
    for section in ("quirks", "current_ua", "radio", "boot"):
        for key, value in table.pop(section, {}).items():
            if key not in chip.get(section, {}):
                raise _bad(path, f"{section}.{key}", "is not a key of the chip", "remove it")
            chip[section][key] = value


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OutpostError(
            "board-syntax", f"{path.name}: {error}", "correct the TOML", _USAGE
        ) from error


def _bad(path: Path, key: str, what: str, fix: str) -> OutpostError:
    return OutpostError("board-invalid", f"{path.name}: {key} {what}", f"{key}: {fix}", _USAGE)


def _build(kind: Any, table: Any, path: Path, prefix: str) -> Any:
    """An instance of dataclass `kind` from a TOML table, every key and type checked."""
    if not isinstance(table, dict):
        raise _bad(path, prefix, "is not a table", f"write it as [{prefix}]")
    hints = typing.get_type_hints(kind)
    fields = {item.name: item for item in dataclasses.fields(kind)}
    for key in table:
        if key not in fields:
            known = ", ".join(sorted(fields))
            raise _bad(path, _dotted(prefix, key), "is not known", f"use one of {known}")
    values = {}
    for name, item in fields.items():
        dotted = _dotted(prefix, name)
        if name in table:
            values[name] = _value(hints[name], table[name], path, dotted)
            _in_range(item, values[name], path, dotted)
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            raise _bad(path, dotted, "is missing", f"add it ({_type_name(hints[name])})")
    return kind(**values)


def _dotted(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key


def _in_range(item: Any, value: Any, path: Path, key: str) -> None:
    low, high = item.metadata.get("low"), item.metadata.get("high")
    if low is not None and not low <= value <= high:
        raise _bad(path, key, f"is {value}", f"write a number from {low} to {high}")


def _value(hint: Any, value: Any, path: Path, key: str) -> Any:
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, Chip) else _build(hint, value, path, key)
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong_type(path, key, hint)
        inner = typing.get_args(hint)[0]
        return tuple(_value(inner, entry, path, f"{key}[{n}]") for n, entry in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, dict):
            raise _wrong_type(path, key, hint)
        inner = typing.get_args(hint)[1]
        entries = {
            name: _value(inner, entry, path, f"{key}.{name}") for name, entry in value.items()
        }
        return types.MappingProxyType(entries)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise _wrong_type(path, key, hint)
    return value


def _wrong_type(path: Path, key: str, hint: Any) -> OutpostError:
    return _bad(path, key, "has the wrong type", f"write {_type_name(hint)}")


def _type_name(hint: Any) -> str:
    names = {int: "an integer", str: "a string", bool: "true or false"}
    if hint in names:
        return names[hint]
    if hint is datetime.datetime:
        return "a date and time with its zone"
    return "an array" if typing.get_origin(hint) is tuple else "a table"


def _check_chip(chip: Chip, path: Path) -> None:
    for kind in chip.clock.lost_by:
        if kind not in RESET_KINDS:
            raise _bad(path, "clock.lost_by", f"names {kind!r}", f"use {', '.join(RESET_KINDS)}")
    if chip.port not in ("esp32", "rp2"):
        raise _bad(path, "port", f"is {chip.port!r}", 'write "esp32" or "rp2"')
    if chip.freq.default_mhz not in chip.freq.allowed_mhz:
        raise _bad(path, "freq.default_mhz", "is not in freq.allowed_mhz", "add it there")
    if chip.freq.slow_mhz >= chip.freq.default_mhz:
        raise _bad(path, "freq.slow_mhz", "is not below freq.default_mhz", "name a slower clock")
    if len(chip.freq.allowed_mhz) > 8:  # sim.chip.layout.CLOCKS
        raise _bad(path, "freq.allowed_mhz", "has more than 8 entries", "leave some out")
    for mhz in chip.freq.battery_mhz:
        if mhz not in chip.freq.allowed_mhz:
            raise _bad(path, "freq.battery_mhz", f"{mhz} is not in freq.allowed_mhz", "add it")


def _check_board(board: Board, path: Path) -> None:
    filesystem = board.filesystem
    if filesystem.bytes % filesystem.block_bytes:
        raise _bad(path, "filesystem.bytes", "is no whole number of blocks", "round it down")
    if filesystem.offset + filesystem.bytes > board.flash_bytes:
        raise _bad(path, "filesystem", "ends behind the flash", "correct offset or bytes")
    _check_ethernet(board, path)
    end = 0
    for part in sorted(board.partitions, key=lambda entry: entry.offset):
        if part.offset < end:
            raise _bad(path, f"partitions.{part.name}", "overlaps the one before", "move it")
        end = part.offset + part.bytes
    if end > board.flash_bytes:
        raise _bad(path, "partitions", "end behind the flash", "correct their offsets")


def _check_ethernet(board: Board, path: Path) -> None:
    wire, chip = board.ethernet, board.chip
    if wire.kind not in ("", "w5500", "present"):
        raise _bad(path, "ethernet.kind", f"is {wire.kind!r}", 'write "w5500" or "present"')
    if wire.kind == "w5500" and not (wire.bus[:3] == "spi" and wire.bus in chip.buses):
        known = ", ".join(name for name in chip.buses if name[:3] == "spi")
        raise _bad(path, "ethernet.bus", f"is {wire.bus!r}", f"use one of {known}")
    needed = {"esp32": ("interrupt", wire.interrupt), "rp2": ("reset", wire.reset)}[chip.port]
    if wire.kind == "w5500" and needed[1] < 0:
        why = f"is missing, and the {chip.port} port does without it in no build"
        raise _bad(path, f"ethernet.{needed[0]}", why, "add its pin")
