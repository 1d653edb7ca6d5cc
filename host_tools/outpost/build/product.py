"""product.toml: what a product is made of, read and checked.

Owns the schema of the file: every key, its type, its range and its default are rows of the tables
below; the reference page is generated from them. Anything else in the file is refused with the
nearest known key named. Nothing here looks at boards or drivers: `release` puts those together.
"""

import difflib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outpost.errors import OutpostError

FILE = "product.toml"
NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
VERSION = re.compile(r"(0|[1-9]\d{0,4})\.(0|[1-9]\d{0,4})\.(0|[1-9]\d{0,4})(-[0-9A-Za-z.]{1,20})?")
RUNTIME = re.compile(r"\d{1,3}\.\d{1,3}\.\d{1,3}")


@dataclass(frozen=True)
class Key:
    """One key of a table: its type, what it may hold, its default (None = must be given) and what
    it means.
    """

    kind: type
    low: float = 0
    high: float = 0
    default: Any = None
    allowed: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    about: str = ""
    optional: bool = False


_DAY_S = 86400
MODES = ("powered", "battery")

TABLES: dict[str, dict[str, Key]] = {
    "product": {
        "name": Key(
            str, pattern=NAME, about="name of the product, as releases and certificates carry it"
        ),
        "version": Key(
            str, pattern=VERSION, about="version of the release, for people; never compared"
        ),
        "epoch": Key(
            int, 1, 65535, 1, about="anti-rollback epoch: a confirmed release forbids lower ones"
        ),
        "boards": Key(list, about="boards it is built for, by the names of boards/*.toml"),
        "micropython": Key(str, default="1.25.0", pattern=RUNTIME, about="lowest MicroPython"),
    },
    "telemetry": {
        "mode": Key(
            str,
            default="powered",
            allowed=MODES,
            about="always connected, or asleep in between",
        ),
        "sample_s": Key(int, 1, _DAY_S, 60, about="seconds between readings"),
        "sample_min_s": Key(
            int, 0, _DAY_S, 0, about="while values move, read as often as this; 0: always sample_s"
        ),
        "publish_s": Key(
            int, 1, _DAY_S, 60, about="seconds after which a batch leaves even if it is not full"
        ),
        "heartbeat_s": Key(int, 10, _DAY_S, 60, about="seconds between heartbeats"),
        "batch": Key(int, 1, 120, 30, about="most samples in one batch"),
    },
    "battery": {
        "capacity_mah": Key(int, 0, 1000000, 0, about="usable charge of the battery"),
        "target_days": Key(
            int,
            0,
            36500,
            0,
            about="days it has to last; 0: connect every `publish_s`, whatever it costs",
        ),
        "low_mv": Key(int, 0, 60000, 0, about="below this voltage the budget is halved"),
        "critical_mv": Key(
            int, 0, 60000, 0, about="below this voltage it connects once a day, no more"
        ),
        "awake_s": Key(
            int, 5, 300, 20, about="a wake never lasts longer, whatever Wi-Fi and broker do"
        ),
        "connect_every": Key(int, 1, 1000, 12, about="most wakes between two connections"),
        "sync_s": Key(
            int, 600, 30 * _DAY_S, _DAY_S, about="seconds between questions for the time"
        ),
        "column": Key(
            str, optional=True, about="the column (<sensor>_<channel>) that measures its voltage"
        ),
    },
    "power": {
        "cpu_mhz": Key(
            int, 0, 1000, 0, about="the CPU's clock while a battery product samples; 0: the chip's"
        ),
    },
    "mqtt": {
        "version": Key(
            str,
            default="3.1.1",
            allowed=("3.1.1", "5"),
            about="5: asks for MQTT 5, and falls back by itself where the broker has only 3.1.1",
        ),
    },
    "network": {
        "probe": Key(
            str,
            pattern=re.compile(r"http://[!-~]{1,200}"),
            optional=True,
            about="asked after joining a Wi-Fi network: an answer that is neither 204 nor a short "
            "200 is a captive portal's",
        ),
    },
    "outbox": {
        "max_kib": Key(int, 8, 4096, 32, about="KiB of flash for records not yet acknowledged"),
        "policy": Key(
            str,
            default="oldest",
            allowed=("oldest", "thin"),
            about="what is dropped when it is full",
        ),
        "keep": Key(int, 2, 10, 2, about="thin keeps every such sample"),
        "sealed": Key(bool, default=False, about="encrypt records on flash with the device's key"),
        "flush_s": Key(
            int,
            1,
            _DAY_S,
            300,
            about="seconds after which records are on flash: what a power cut may cost",
        ),
    },
    "update": {
        "check_s": Key(
            int, 10, 30 * _DAY_S, 3600, about="seconds between checks for a new release"
        ),
        "jitter_s": Key(
            int,
            0,
            _DAY_S,
            300,
            about="random seconds added, so that a fleet does not come at once",
        ),
        "min_battery_pct": Key(
            int, 0, 100, 0, about="charge below which an update waits, unless there is power"
        ),
        "external_power": Key(bool, default=False, about="whether an update waits for power"),
        "window": Key(
            str,
            pattern=re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d"),
            optional=True,
            about='hours in which updates are installed, in UTC: "01:00-05:00"',
        ),
        "defer_limit_s": Key(
            int, 0, 90 * _DAY_S, 7 * _DAY_S, about="how long a person can put one release off"
        ),
    },
    "health": {
        "deadline_s": Key(int, 10, 86400, 300, about="seconds a new release has to prove itself"),
        "publishes": Key(int, 0, 1000, 1, about="publishes that must have been acknowledged"),
        "heap_floor": Key(int, 0, 4 << 20, 20000, about="free bytes of heap it must leave"),
        "connected": Key(bool, default=True, about="whether it must have been connected"),
    },
}
BOARD = {"mode": Key(str, optional=True, allowed=MODES, about="instead of `telemetry.mode`")}
SENSOR = {
    "name": Key(str, pattern=NAME, about="prefix of its channels"),
    "driver": Key(
        str, pattern=NAME, about="a file of node/drivers or of the product's drivers folder"
    ),
    "bus": Key(
        str,
        pattern=NAME,
        optional=True,
        about="a bus of the board; none for a part on pins of its own",
    ),
    "address": Key(int, 0, 0x7F, optional=True, about="I2C address"),
    "pin": Key(str, optional=True, about="a pin of the board, for parts that need one"),
    "options": Key(dict, optional=True, about="what else the driver takes"),
    "calibration": Key(dict, optional=True, about="a table for each channel: CALIBRATION"),
}
RAIL = {
    "rail": Key(str, optional=True, about="a pin that switches the sensor's supply"),
    "warm_ms": Key(
        int, 0, 60000, optional=True, about="from supply to the first command to the sensor"
    ),
    "rail_ua": Key(
        int,
        0,
        1000000,
        optional=True,
        about="current of this sensor while its supply is on, for `outpost power`",
    ),
}
CALIBRATION = {
    "gain": Key(float, 0.001, 1000, 1.0, about="what a reading is multiplied by"),
    "offset": Key(float, -1e6, 1e6, 0.0, about="what is added then, in the channel's unit"),
}
_UNIT = "in the channel's unit"
FILTER = {
    "deadband": Key(
        float, 0, 1e6, optional=True, about=f"smallest change that is reported, {_UNIT}"
    ),
    "report_s": Key(int, 1, _DAY_S, optional=True, about="report at least this often"),
    "min_interval_s": Key(int, 0, _DAY_S, optional=True, about="report at most this often"),
    "window": Key(int, 1, 3600, optional=True, about="readings in a min/mean/max window"),
    "median": Key(int, 3, 15, optional=True, about="readings a median is taken of"),
    "hampel": Key(int, 3, 15, optional=True, about="readings in the window that finds outliers"),
    "rate": Key(
        float, 0, 1e6, optional=True, about=f"change per minute that is an alarm, {_UNIT}"
    ),
    "anomaly": Key(
        float, 0, 1e6, optional=True, about=f"jump that turns on high-rate capture, {_UNIT}"
    ),
    "low": Key(float, -1e6, 1e6, optional=True, about=f"below it is an alarm, {_UNIT}"),
    "high": Key(float, -1e6, 1e6, optional=True, about=f"above it is an alarm, {_UNIT}"),
}


_MORE = ("boards", "sensors", "filters")


@dataclass(frozen=True)
class Product:
    """A checked product.toml. Tables are dictionaries holding exactly the keys of TABLES, defaults
    filled in.
    """

    folder: Path
    source: bytes
    name: str
    version: str
    epoch: int
    boards: tuple[str, ...]
    micropython: tuple[int, int, int]
    tables: dict[str, dict[str, Any]]
    sensors: tuple[dict[str, Any], ...]
    filters: dict[str, dict[str, Any]]
    own: dict[str, dict[str, Any]]
    """{board: what is different there}, the keys of BOARD."""

    def mode(self, board: str) -> str:
        """ "powered" or "battery": how it runs on `board`."""
        return str(self.own.get(board, {}).get("mode", self.tables["telemetry"]["mode"]))

    @property
    def drivers(self) -> tuple[str, ...]:
        """Names of the drivers it uses, each once, sorted."""
        return tuple(sorted({sensor["driver"] for sensor in self.sensors}))


def _in_range(value: float, key: Key) -> bool:
    return type(value) is bool or key.low <= value <= key.high


class _Reader:
    """Checks tables against the schema; knows the file for its messages."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def wrong(self, what: str, fix: str) -> OutpostError:
        return OutpostError("product-invalid", f"{self.path}: {what}", fix, exit_code=2)

    def unknown(self, where: str, name: str, known: list[str]) -> OutpostError:
        near = difflib.get_close_matches(name, known, 1)
        fix = f"did you mean {near[0]}?" if near else "known: " + ", ".join(sorted(known))
        return self.wrong(f"unknown key {where}{name}", fix)

    def table(self, where: str, raw: Any, schema: dict[str, Key]) -> dict[str, Any]:
        if not isinstance(raw, dict):
            raise self.wrong(f"{where} is not a table", f"write it as [{where}]")
        for name in raw:
            if name not in schema:
                raise self.unknown(f"{where}.", name, list(schema))
        out = {}
        for name, key in schema.items():
            if name in raw:
                out[name] = self.value(f"{where}.{name}", raw[name], key)
            elif key.default is not None:
                out[name] = key.default
            elif not key.optional:
                raise self.wrong(f"{where}.{name} is missing", f"add it: {key.about}")
        return out

    def value(self, where: str, value: Any, key: Key) -> Any:
        if key.kind is float and type(value) is int:
            value = float(value)
        if type(value) is not key.kind:
            wanted = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
            kind = wanted.get(key.kind, f"a {key.kind.__name__}")
            raise self.wrong(f"{where} is {value!r}, not {kind}", key.about)
        if isinstance(value, (int, float)) and not _in_range(value, key):
            raise self.wrong(f"{where} is {value}", f"allowed: {key.low:g} to {key.high:g}")
        if key.allowed and value not in key.allowed:
            raise self.wrong(f"{where} is {value!r}", "allowed: " + ", ".join(key.allowed))
        if key.pattern and not key.pattern.fullmatch(str(value)):
            raise self.wrong(f"{where} is {value!r}", f"it must match {key.pattern.pattern}")
        return value

    def names(self, where: str, value: list[Any]) -> tuple[str, ...]:
        for name in value:
            if type(name) is not str or not NAME.fullmatch(name):
                raise self.wrong(f"{where} holds {name!r}", f"names must match {NAME.pattern}")
        if not value or len(set(value)) != len(value):
            raise self.wrong(f"{where} is empty or names one twice", "list each board once")
        return tuple(value)


def load_product(folder: Path, version: str | None = None) -> Product:
    """Reads and checks `folder`/product.toml; `version` replaces the one in the file."""
    path = folder / FILE
    reader = _Reader(path)
    try:
        source = path.read_bytes()
        raw = tomllib.loads(source.decode())
    except FileNotFoundError:
        raise reader.wrong(
            "not found", "name a product's folder, or make one with `outpost new`"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise reader.wrong(f"not TOML: {error}", "correct the file") from None
    for name in raw:
        if name not in TABLES and name not in _MORE:
            raise reader.unknown("", name, [*TABLES, *_MORE])
    if version is not None and isinstance(raw.get("product"), dict):
        raw["product"]["version"] = version
    return _assemble(reader, raw, source)


def _assemble(reader: _Reader, raw: dict[str, Any], source: bytes) -> Product:
    tables = {
        name: reader.table(name, raw.get(name, {}), schema) for name, schema in TABLES.items()
    }
    head = tables.pop("product")
    sensors = _sensors(reader, raw.get("sensors", []))
    rows = raw.get("filters", {})
    if not isinstance(rows, dict):
        raise reader.wrong("filters is not a table", "write [filters.<channel>]")
    filters = {name: reader.table(f"filters.{name}", row, FILTER) for name, row in rows.items()}
    boards = reader.names("product.boards", head["boards"])
    return Product(
        folder=reader.path.parent,
        source=source,
        name=head["name"],
        version=head["version"],
        epoch=head["epoch"],
        boards=boards,
        micropython=_runtime(head["micropython"]),
        tables=tables,
        sensors=sensors,
        filters=filters,
        own=_own(reader, raw.get("boards", {}), boards),
    )


def _own(reader: _Reader, rows: Any, boards: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    if not isinstance(rows, dict):
        raise reader.wrong("boards is not a table", "write [boards.<board>]")
    for name in rows:
        if name not in boards:
            fix = "its boards: " + ", ".join(boards)
            raise reader.wrong(f"boards.{name} is not in product.boards", fix)
    return {name: reader.table(f"boards.{name}", row, BOARD) for name, row in rows.items()}


def _runtime(text: str) -> tuple[int, int, int]:
    major, minor, patch = (int(part) for part in text.split("."))
    return major, minor, patch


def _sensors(reader: _Reader, rows: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(rows, list) or not rows:
        raise reader.wrong("it has no [[sensors]]", "add at least one")
    sensors = tuple(reader.table(f"sensors[{i}]", row, SENSOR) for i, row in enumerate(rows))
    for index, sensor in enumerate(sensors):
        _check_rail(reader, f"sensors[{index}].options", sensor.get("options", {}))
        for channel, row in sensor.get("calibration", {}).items():
            where = f"sensors.{sensor['name']}.calibration.{channel}"
            sensor["calibration"][channel] = reader.table(where, row, CALIBRATION)
    names = [sensor["name"] for sensor in sensors]
    for name in names:
        if names.count(name) > 1:
            raise reader.wrong(f"two sensors are called {name}", "give each its own name")
    return sensors


def _check_rail(reader: _Reader, where: str, options: dict[str, Any]) -> None:
    for name, key in RAIL.items():
        if name in options:
            reader.value(f"{where}.{name}", options[name], key)
            if "rail" not in options:
                raise reader.wrong(f"{where}.{name} without a rail", f"add {where}.rail, a pin")
