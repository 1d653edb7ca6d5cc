"""The data files of a release: product.cbor, schema.cbor and boards/<board>.cbor.

Owns the translation from TOML (for people: names, units, decimals) to what the node reads (CBOR integers).
What those maps must hold is node.core.config's to say; this module only fills them in.
"""

from typing import Any

from loader import cbor
from outpost.boards import Board
from outpost.build.product import Product
from outpost.build.reach import Tree

# An RP2040's watchdog ends at 8388 ms; the loader arms it before the application is imported.
_WATCHDOG_MS = 8000


def data_files(product: Product, boards: list[Board], tree: Tree) -> dict[str, bytes]:
    """{path in the slot: content} of everything that is not code."""
    files = {"product.cbor": cbor.encode(product_map(product))}
    for board in boards:
        files[f"boards/{board.name}.cbor"] = cbor.encode(board_map(board))
    return files


def product_map(product: Product) -> dict[str, Any]:
    """What product.cbor holds."""
    sensors = [dict(sensor) for sensor in product.sensors]
    tables = {name: table for name, table in product.tables.items() if name != "health"}
    return {"product": product.name, "sensors": sensors, **tables}


def board_map(board: Board) -> dict[str, Any]:
    """What boards/<board>.cbor holds: see node/hal/board.py."""
    chip = board.chip
    quirks = {name: value for name, value in vars(chip.quirks).items() if isinstance(value, (bool, int))}
    return {
        "board": board.name,
        "chip": chip.name,
        "port": chip.port,
        "buses": {name: list(pins) for name, pins in chip.buses.items()},
        "pins": dict(board.pins),
        "watchdog_ms": min(_WATCHDOG_MS, chip.wdt.max_ms or _WATCHDOG_MS),
        "rtc_memory_bytes": chip.rtc_memory_bytes,
        "epoch": chip.epoch,
        "freq_mhz": [chip.freq.default_mhz, chip.freq.max_mhz],
        "quirks": quirks,
    }
