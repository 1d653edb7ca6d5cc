"""product.cbor and the sensors it names: parsed, bounded, refused with a code.

The map that the build writes (all numbers are integers; `outpost build` scales them with the
exponent of the channel, from the driver's CHANNELS):

    {"product": str,
     "telemetry": {"sample_s", "publish_s", "heartbeat_s", ["batch"], ["sample_min_s"]},
     "battery": {"capacity_mah", "target_days", "low_mv", "critical_mv", "awake_s",
                 "connect_every", "sync_s", ["column"]},
     "outbox": {"max_kib", "policy": "oldest"|"thin", ["keep", "flush_s"]},
     "sensors": [{"name", "driver", "bus", ["address"], ["pin"], ["options": {}],
                  ["calibration": {channel: [gain_ppm, offset]}]}, ...],
     "filters": {"<sensor>_<channel>": {["deadband"], ["report_s"], ["min_interval_s"], ["window"],
                 ["median"], ["hampel"], ["rate"], ["anomaly"], ["low"], ["high"]}}}

Calibration: value * gain_ppm / 1,000,000 + offset, in the channel's scale. `deadband`, `anomaly`,
`rate` (change per minute), `low` and `high` are in the channel's scale as well. A column of the
schema is called "<sensor>_<channel>"; a channel with a `window` gets three more columns, `_min`,
`_max` and `_count`. Unknown keys are ignored: an older node may meet a newer product.
"""

from loader import cbor
from micropython import const
from node.core.pack import MAX_COLUMNS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Channels = tuple[tuple[str, str, int], ...]

MAX_SENSORS = const(16)
_DAY_S = const(86400)
_BIG = const(0x3FFFFFFF)
_NAME_FIRST = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_NAME_REST = _NAME_FIRST + "-:./_"  # RFC 8428 section 4.5.1


class ConfigError(Exception):
    """A product.cbor that cannot be used. `code` is stable, `where` says which part."""

    def __init__(self, code: str, where: str = "") -> None:
        super().__init__(code, where)
        self.code = code
        self.where = where


def is_name(name: str) -> bool:
    """Whether `name` may be a SenML name (RFC 8428 section 4.5.1)."""
    if not name or name[0] not in _NAME_FIRST:
        return False
    return all(letter in _NAME_REST for letter in name)


class SensorConfig:
    """One sensor. `calibration` maps a channel to (gain_ppm, offset)."""

    def __init__(self, raw: "dict[str, Any]") -> None:
        self.name = _text(raw, "name", 32)
        self.driver = _text(raw, "driver", 32)
        self.bus = _text(raw, "bus", 32, "")
        self.address = _number(raw, "address", 0, 0, 0x7F)
        self.pin = _text(raw, "pin", 32, "")
        self.options = _table(raw, "options")
        self.calibration: dict[str, tuple[int, int]] = {}
        if not is_name(self.name):
            raise ConfigError("config-name", self.name)
        for channel, pair in _table(raw, "calibration").items():
            if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not _all_ints(pair):
                raise ConfigError("config-calibration", self.name + "_" + str(channel))
            self.calibration[channel] = (pair[0], pair[1])


class FilterConfig:
    """How one channel is thinned before it is recorded; every key may be absent (0)."""

    def __init__(self, raw: "dict[str, Any]") -> None:
        self.deadband = _number(raw, "deadband", 0, 0, _BIG)
        self.report_ms = 1000 * _number(raw, "report_s", 0, 0, _DAY_S)
        self.min_interval_ms = 1000 * _number(raw, "min_interval_s", 0, 0, _DAY_S)
        self.window = _number(raw, "window", 0, 0, 3600)
        self.median = _number(raw, "median", 0, 0, 15)
        self.hampel = _number(raw, "hampel", 0, 0, 15)
        self.rate = _number(raw, "rate", 0, 0, _BIG)
        self.anomaly = _number(raw, "anomaly", 0, 0, _BIG)
        self.low: int | None = raw.get("low")
        self.high: int | None = raw.get("high")
        for bound in (self.low, self.high):
            if bound is not None and not _is_int(bound):
                raise ConfigError("config-type", "low/high")
        self.every_sample = not (self.deadband or self.window or self.report_ms)


class BatteryConfig:
    """How a battery is spent (mode "battery" only). `column` measures it, empty: nothing does."""

    def __init__(self, raw: "dict[str, Any]") -> None:
        self.capacity_mah = _number(raw, "capacity_mah", 0, 0, 1000000)
        self.target_days = _number(raw, "target_days", 0, 0, 36500)
        self.low_mv = _number(raw, "low_mv", 0, 0, 60000)
        self.critical_mv = _number(raw, "critical_mv", 0, 0, 60000)
        self.awake_s = _number(raw, "awake_s", 20, 5, 300)
        self.connect_every = _number(raw, "connect_every", 12, 1, 1000)
        self.sync_s = _number(raw, "sync_s", _DAY_S, 600, 30 * _DAY_S)
        self.column = _text(raw, "column", 64, "")


class ProductConfig:
    """product.cbor, checked."""

    def __init__(self, raw: "dict[str, Any]") -> None:
        self.product = _text(raw, "product", 32)
        telemetry = _table(raw, "telemetry")
        self.sample_ms = 1000 * _number(telemetry, "sample_s", 60, 1, _DAY_S)
        self.sample_min_ms = 1000 * _number(telemetry, "sample_min_s", 0, 0, _DAY_S)
        self.publish_ms = 1000 * _number(telemetry, "publish_s", 60, 1, _DAY_S)
        self.heartbeat_s = _number(telemetry, "heartbeat_s", 60, 10, _DAY_S)
        self.batch = _number(telemetry, "batch", 30, 1, 120)
        outbox = _table(raw, "outbox")
        self.outbox_bytes = 1024 * _number(outbox, "max_kib", 64, 8, 4096)
        self.outbox_policy = _choice(outbox, "policy", ("oldest", "thin"))
        self.outbox_keep = _number(outbox, "keep", 2, 2, 10)
        self.flush_ms = 1000 * _number(outbox, "flush_s", 300, 1, _DAY_S)
        self.battery = BatteryConfig(_table(raw, "battery"))
        sensors = raw.get("sensors")
        if not isinstance(sensors, list) or not 0 < len(sensors) <= MAX_SENSORS:
            raise ConfigError("config-sensors")
        self.sensors = [SensorConfig(_checked(row)) for row in sensors]
        if len({sensor.name for sensor in self.sensors}) != len(self.sensors):
            raise ConfigError("config-sensors", "two of one name")
        self.filters: dict[str, FilterConfig] = {}
        for name, row in _table(raw, "filters").items():
            self.filters[name] = FilterConfig(_checked(row))

    def filter_of(self, column: str) -> FilterConfig:
        """The filter of a column; one that lets every sample pass when none is named."""
        return self.filters.get(column) or FilterConfig({})


def parse(data: "bytes | bytearray | memoryview") -> ProductConfig:
    """Read product.cbor. ConfigError: config-cbor, -type, -range, -name, -sensors ..."""
    try:
        raw = cbor.decode(data)
    except cbor.VerifyError as error:
        raise ConfigError("config-cbor", error.code)
    return ProductConfig(_checked(raw))


WINDOW_COLUMNS = ("_min", "_max", "_count")


def schema_fields(
    config: ProductConfig, channels_of: "Callable[[SensorConfig], Channels]"
) -> "list[tuple[str, str, int]]":
    """The columns of the records, in order: what `record.make_schema` takes.

    `channels_of(sensor)` gives a driver's channels (`node.drivers.sensor.channels` on the device
    and in the build alike). Used by the build for schema.cbor and by the node to know its
    columns.
    """
    fields: list[tuple[str, str, int]] = []
    for sensor in config.sensors:
        for channel, unit, scale in channels_of(sensor):
            name = sensor.name + "_" + channel
            fields.append((name, unit, scale))
            if config.filter_of(name).window:
                fields.append((name + "_min", unit, scale))
                fields.append((name + "_max", unit, scale))
                fields.append((name + "_count", "count", 0))
    if len(fields) > MAX_COLUMNS:
        raise ConfigError("config-columns", str(len(fields)))
    return fields


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _all_ints(values: "Any") -> bool:
    return all(_is_int(value) and -_BIG <= value <= _BIG for value in values)


def _checked(raw: "Any") -> "dict[str, Any]":
    if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
        raise ConfigError("config-type", "not a map")
    return raw


def _table(raw: "dict[str, Any]", key: str) -> "dict[str, Any]":
    return _checked(raw.get(key, {}))


def _number(raw: "dict[str, Any]", key: str, default: int, low: int, high: int) -> int:
    value = raw.get(key, default)
    if not _is_int(value):
        raise ConfigError("config-type", key)
    if not low <= value <= high:
        raise ConfigError("config-range", key)
    return int(value)


def _text(raw: "dict[str, Any]", key: str, most: int, default: "str | None" = None) -> str:
    value = raw.get(key, default)
    if not isinstance(value, str):
        raise ConfigError("config-type", key)
    if len(value) > most or (default is None and not value):
        raise ConfigError("config-range", key)
    return value


def _choice(raw: "dict[str, Any]", key: str, allowed: "tuple[str, ...]") -> str:
    value = raw.get(key, allowed[0])
    if value not in allowed:
        raise ConfigError("config-range", key)
    return str(value)
