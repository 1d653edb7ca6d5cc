"""The data files of a release: product.cbor, schema.cbor and board-<board>.cbor.

Owns the translation from TOML (for people: names, units, decimals) to what the node reads (CBOR
integers in each channel's scale). What the maps must hold is said by node.core.config and
node/hal/board.py; each product.cbor is read back with the node's own parser before it is accepted.
A driver's channels are found by importing its file: it is pure by the rules of the house, so it
runs here as it does there.
"""

import difflib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loader import cbor
from node.core import config as node_config
from node.core import record
from node.core.model import Model, ModelError

from outpost.boards import Board
from outpost.build.modes import check_modes, is_any_on_battery
from outpost.build.product import FILE, Product
from outpost.build.reach import Tree
from outpost.errors import ExitCode, OutpostError

MODEL = "model.cbor"  # beside product.toml, made by `outpost model train`
# An RP2040's watchdog ends at 8388 ms; the loader arms it before the application is imported.
_WATCHDOG_MS = 8000
_SCALED = ("deadband", "rate", "anomaly", "low", "high")

Channels = tuple[tuple[str, str, int], ...]


def data_files(product: Product, boards: list[Board], tree: Tree) -> dict[str, bytes]:
    """{path in the slot: content} of everything that is not code."""
    check_modes(product, boards)
    _check_wiring(product, boards)
    check_clock(product, boards)
    channels = {sensor["name"]: channels_of(sensor, tree) for sensor in product.sensors}
    encoded = cbor.encode(product_map(product, channels))
    try:
        parsed = node_config.parse(encoded)
        fields = node_config.schema_fields(parsed, lambda sensor: channels[sensor.name])
        schema = record.make_schema(fields)
    except (node_config.ConfigError, record.RecordError) as error:
        raise _wrong(
            product, f"the node would refuse it: {error}", "correct the key it names"
        ) from error
    files = {"product.cbor": encoded, "schema.cbor": schema}
    for board in boards:
        files[f"board-{board.name}.cbor"] = cbor.encode(
            {**board_map(board), "mode": product.mode(board.name)}
        )
    if (product.folder / MODEL).exists():
        names = [f"{sensor}_{row[0]}" for sensor, rows in channels.items() for row in rows]
        files[MODEL] = _model(product, names)
    return files


def _model(product: Product, columns: list[str]) -> bytes:
    """The trained model beside product.toml, once the node would take it."""
    data = (product.folder / MODEL).read_bytes()
    try:
        wanted = Model(data).columns
    except ModelError as error:
        raise _wrong(product, f"{MODEL} is no model: {error.code}", "train it again") from error
    strange = [name for name in wanted if name not in columns]
    if strange:
        raise _wrong(
            product, f"{MODEL} watches {strange[0]}, which is no column", "train it again"
        )
    return data


def _wrong(product: Product, what: str, fix: str) -> OutpostError:
    return OutpostError("product-invalid", f"{product.folder / FILE}: {what}", fix, ExitCode.USAGE)


def _check_wiring(product: Product, boards: list[Board]) -> None:
    for board in boards:
        for sensor in product.sensors:
            bus, pin = sensor.get("bus", ""), sensor.get("pin", "")
            if not bus and not pin:
                fix = "name the bus it is on, or its pin"
                raise _wrong(product, f"sensor {sensor['name']} has neither bus nor pin", fix)
            if bus and bus not in board.chip.buses:
                known = ", ".join(sorted(board.chip.buses))
                raise _wrong(
                    product,
                    f"{board.name} has no bus {bus} (sensor {sensor['name']})",
                    f"its buses: {known}",
                )
            for name in (pin, str(sensor.get("options", {}).get("rail", ""))):
                if name and name not in board.pins and not _is_gpio(name, board):
                    raise _wrong(
                        product,
                        f"{board.name} has no pin {name} (sensor {sensor['name']})",
                        "use gpio<number>",
                    )


def check_clock(product: Product, boards: list[Board]) -> None:
    """Refuse a clock that a chip must not have."""
    mhz = product.tables["power"]["cpu_mhz"]
    if not mhz:
        return
    if not is_any_on_battery(product):
        what = "power.cpu_mhz is battery mode's, and this product is powered"
        raise _wrong(product, what, 'leave it out, or write telemetry.mode = "battery"')
    for board in boards:
        if product.mode(board.name) != "battery":
            continue
        allowed = board.chip.freq.battery_mhz
        if mhz not in allowed:
            known = ", ".join(map(str, allowed))
            what = f"power.cpu_mhz is {mhz}, which {board.name} ({board.chip.name}) must not have"
            raise _wrong(product, what, f"allowed there: 0, {known}")


def _is_gpio(name: str, board: Board) -> bool:
    return name[:4] == "gpio" and name[4:].isdigit() and int(name[4:]) in board.chip.gpio.pins


def channels_of(sensor: Mapping[str, Any], tree: Tree) -> Channels:
    """What the sensor's driver measures: (name, SenML unit, decimal exponent) each."""
    module = driver_of(str(sensor["driver"]), tree)
    config = node_config.SensorConfig(
        {key: value for key, value in sensor.items() if key != "calibration"}
    )
    found = module.channels(config) if hasattr(module, "channels") else module.CHANNELS
    return tuple((str(row[0]), str(row[1]), int(row[2])) for row in found)


def driver_of(name: str, tree: Tree) -> Any:
    """The driver's module, imported."""
    file = tree.file_of(f"node.drivers.{name}")
    if file is None:
        known = sorted(Path(path).stem for path in tree.files if path.startswith("node/drivers/"))
        near = difflib.get_close_matches(name, known, 1)
        fix = f"did you mean {near[0]}?" if near else "drivers: " + ", ".join(known)
        raise OutpostError("driver-unknown", f"there is no driver {name}", fix, ExitCode.USAGE)
    return _load(name, tree.files[file])


def _load(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"outpost_driver_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (
        Exception
    ) as error:  # whatever a product's own driver raises, the reader must learn which file it was
        message = f"driver {name} cannot be imported: {type(error).__name__}: {error}"
        raise OutpostError("driver-import", message, f"correct {path}", ExitCode.USAGE) from error
    if not hasattr(module, "CHANNELS") and not hasattr(module, "channels"):
        raise OutpostError(
            "driver-channels",
            f"driver {name} names no CHANNELS",
            f"add them to {path}",
            ExitCode.USAGE,
        )
    return module


def product_map(product: Product, channels: Mapping[str, Channels]) -> dict[str, Any]:
    """What product.cbor holds: see node/core/config.py."""
    scales = {f"{name}_{row[0]}": row[2] for name, rows in channels.items() for row in rows}
    tables = {name: table for name, table in product.tables.items() if name != "health"}
    cpu_mhz = tables.pop("power")["cpu_mhz"]
    if cpu_mhz:
        tables["battery"] = {**tables["battery"], "cpu_mhz": cpu_mhz}
    tables["telemetry"] = {k: v for k, v in tables["telemetry"].items() if k != "mode"}
    tables["mqtt"] = {"version": 5 if tables["mqtt"]["version"] == "5" else 4}
    return {
        "product": product.name,
        **tables,
        "sensors": [_sensor(product, sensor, scales) for sensor in product.sensors],
        "filters": {
            name: _filter(product, name, row, scales) for name, row in product.filters.items()
        },
    }


def _scale_of(product: Product, column: str, scales: Mapping[str, int]) -> int:
    if column not in scales:
        near = difflib.get_close_matches(column, list(scales), 1)
        fix = f"did you mean {near[0]}?" if near else "channels: " + ", ".join(sorted(scales))
        raise _wrong(product, f"no sensor has the channel {column}", fix)
    return scales[column]


def scaled(value: float, exponent: int) -> int:
    """`value` in units of 10**exponent, rounded."""
    return round(value * 10.0**-exponent)


def _sensor(
    product: Product, sensor: Mapping[str, Any], scales: Mapping[str, int]
) -> dict[str, Any]:
    out = dict(sensor)
    if "options" in sensor:  # its supply's current is for the prediction, not for the node
        out["options"] = {k: v for k, v in sensor["options"].items() if k != "rail_ua"}
    if "calibration" in sensor:
        out["calibration"] = {}
        for channel, row in sensor["calibration"].items():
            exponent = _scale_of(product, f"{sensor['name']}_{channel}", scales)
            out["calibration"][channel] = [
                round(row["gain"] * 1_000_000),
                scaled(row["offset"], exponent),
            ]
    return out


def _filter(
    product: Product, column: str, row: Mapping[str, Any], scales: Mapping[str, int]
) -> dict[str, Any]:
    exponent = _scale_of(product, column, scales)
    out = dict(row)
    for key in _SCALED:
        if key in row:
            out[key] = scaled(row[key], exponent)
            if row[key] and not out[key]:
                step = f"the channel's step is {10.0**exponent:g}"
                raise _wrong(
                    product,
                    f"filters.{column}.{key} is {row[key]:g}, which rounds to nothing",
                    step,
                )
    return out


def _ethernet(board: Board) -> dict[str, Any]:
    """What node/hal/ethernet.py takes: numbers only."""
    wire = board.ethernet
    if wire.kind != "w5500":
        return {"kind": wire.kind}
    return {
        "kind": wire.kind,
        "spi": int(wire.bus[3:]),
        "pins": list(board.chip.buses[wire.bus]),
        "hz": wire.mhz * 1_000_000,
        "cs": wire.cs,
        "rst": wire.reset,
        "int": wire.interrupt,
    }


def watchdog_ms(board: Board) -> int:
    """The period the loader arms the watchdog with."""
    return min(_WATCHDOG_MS, board.chip.wdt.max_ms or _WATCHDOG_MS)


def board_map(board: Board) -> dict[str, Any]:
    """What board-<board>.cbor holds: see node/hal/board.py."""
    chip = board.chip
    quirks = {
        name: value for name, value in vars(chip.quirks).items() if isinstance(value, (bool, int))
    }
    return {
        "board": board.name,
        "chip": chip.name,
        "port": chip.port,
        **({"ethernet": _ethernet(board)} if board.ethernet.kind else {}),
        "buses": {name: list(pins) for name, pins in chip.buses.items()},
        "pins": dict(board.pins),
        "watchdog_ms": watchdog_ms(board),
        "rtc_memory_bytes": chip.rtc_memory_bytes,
        "epoch": chip.epoch,
        "freq_mhz": [chip.freq.default_mhz, chip.freq.max_mhz],
        "quirks": quirks,
        "current_ua": dict(vars(chip.current_ua)),
        "wake_ms": chip.boot.deepsleep_wake_ms,
    }
