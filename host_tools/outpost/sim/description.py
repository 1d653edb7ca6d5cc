"""What the chip's modules are told about their board: one JSON object, made from the TOML data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from outpost.boards import Board


def describe(board: Board, folder: Path, flash_path: Path, uid: str) -> dict[str, Any]:
    """The plain part of the description; the caller adds devices and access points."""
    chip = board.chip
    filesystem = board.filesystem
    return {
        "name": board.micropython_board,
        "machine": board.machine,
        "port": chip.port,
        "epoch": chip.epoch,
        "uid": uid,
        "sys_path": list(chip.default_sys_path),
        "rtc_memory": chip.rtc_memory_bytes,
        "gpio": [*chip.gpio.pins, *board.pins.values()],
        "input_only": list(chip.gpio.input_only),
        "adc": list(chip.gpio.adc),
        "pins": dict(board.pins),
        "buses": {name: list(pins) for name, pins in chip.buses.items()},
        "freq": {
            "default_mhz": chip.freq.default_mhz,
            "allowed_mhz": list(chip.freq.allowed_mhz),
        },
        "wdt": asdict(chip.wdt),
        "radio": asdict(chip.radio),
        "ethernet": asdict(board.ethernet) if board.ethernet.kind else None,
        "load_us_per_kib": chip.work.load_us_per_kib,
        "handshake_ms": chip.work.handshake_ms,
        "quirks": asdict(chip.quirks),
        "flash": {
            "path": str(flash_path),
            "fs_bytes": filesystem.bytes,
            "block": filesystem.block_bytes,
            "prog": filesystem.prog_bytes,
            "read": filesystem.read_bytes,
            "erase_us": chip.flash.erase_us,
            "program_us": chip.flash.program_page_us,
        },
        "partitions": [
            {**asdict(part), "path": str(_partition_path(part.name, folder, flash_path))}
            for part in board.partitions
        ],
        "devices": [],
        "rails_by_pin": {},
        "access_points": [],
        "hosts": {},
        "heap_scale": 1,
        "lease": 0,
    }


def _partition_path(name: str, folder: Path, flash_path: Path) -> Path:
    return flash_path if name == "vfs" else folder / f"{name}.bin"
