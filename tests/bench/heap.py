"""Where the heap of a whole node stands: idle, connected, in the handshake, in an update, and
after a day.

    python -m tests.bench heap [BOARD=BYTES ...] [--days N]

The product `weather`, built for powered mode on every board, runs on the simulated board, in
modelled time, against a real broker with mutual TLS. Its own figures (log and heartbeats,
`gc.collect()` first) say what is used and how large the largest free piece is. The simulated chip
tells what is used in the middle of a handshake, with what is garbage by then. The update's peak is
what the smallest heap in which it succeeds has above the code that is loaded.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from outpost.boards import load_board
from outpost.paths import vm_path
from outpost.sim import SimBoard, Wiring
from outpost.sim.scenario import Scenario, Signal

from tests.host.signed_build import WEATHER, in_mode
from tests.month_kit import Field

# A plain ESP32 does not hold powered mode in the heap of its TOML: docs/reference/memory.md.
_BOARDS = ("rpi_pico_w", "esp32_generic=160000")
_LIMIT_S = 3 * 3600.0  # always connected, a virtual day takes more than an hour
_UPDATE_STEP = 512
_UPDATE_FROM = 12 * 1024
_USABLE = 0.973  # of a heap; the rest is the collector's own table


def measure(arguments: list[str]) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(prog="python -m tests.bench heap")
    parser.add_argument("boards", nargs="*", default=list(_BOARDS), metavar="BOARD=BYTES")
    parser.add_argument("--days", type=float, default=1.0)
    wanted = parser.parse_args(arguments)
    rows = []
    for text in wanted.boards:
        name, _, size = text.partition("=")
        heap = int(size) if size else load_board(name).heap_bytes
        rows += _day(name, heap, wanted.days)
    return rows + _update()


def _day(name: str, heap: int, days: float) -> list[dict[str, Any]]:
    beats: list[dict[str, Any]] = []
    logged: list[int] = []

    def heard(line: str) -> None:
        if "heap: " in line:
            logged.append(int(line.split(" used, ")[1].split()[0]))

    with (
        tempfile.TemporaryDirectory(prefix="heap-") as folder,
        Field(Path(folder), _always_connected(Path(folder))) as field,
    ):
        flash, _ = field.provisioned(name)
        devices = field.server.registry.devices
        keep = devices.heartbeat

        def heartbeat(device_id: str, body: dict[str, Any], at_ms: int) -> Any:
            beats.append(body)
            return keep(device_id, body, at_ms)

        devices.heartbeat = heartbeat  # type: ignore[method-assign]
        board = SimBoard(
            name, flash, wiring=Wiring().with_product(WEATHER / "product.toml"), heap=heap,
            scenario=_quiet(days), time="modelled", on_line=heard,
        )  # fmt: skip
        field.run_board(board, _LIMIT_S)
    told = [beat for beat in beats if beat.get("on") and "heap" in beat]
    if not told or not logged:
        raise RuntimeError(f"{name} did not connect in {heap} B: {list(board.lines)[-5:]}")
    return _rows(f"{name} {heap:,} B", told, logged[-1], _handshakes(board))


def _always_connected(folder: Path) -> Path:
    """The product, in powered mode on every board."""
    product = folder / "product"
    shutil.copytree(WEATHER, product)
    recipe = product / "product.toml"
    recipe.write_text(in_mode(recipe.read_text(), "powered"))
    return product


def _quiet(days: float) -> Scenario:
    return Scenario(
        days=days,
        step_s=600,
        signals=(("air.temperature_mc", Signal(12000, 6000, 200)),),
    )


def _handshakes(board: SimBoard) -> list[int]:
    found = [int(event.detail) for event in board.events if event.name == "handshake"]
    return found or [0]


def _rows(
    who: str, beats: list[dict[str, Any]], free: int, handshakes: list[int]
) -> list[dict[str, Any]]:
    tenth = max(1, len(beats) // 10)
    early, late = beats[1 : 1 + tenth] or beats, beats[-tenth:]
    first, last = _middle(early, "blk"), _middle(late, "blk")
    hours = (beats[-1]["up"] - beats[0]["up"]) / 3600
    return [
        _row("hours of traffic", who, hours, "h"),
        _row("heartbeats", who, len(beats), ""),
        _row("restarts of tasks", who, beats[-1]["restarts"], ""),
        _row("free before the first link", who, free, "B"),
        _row("used in the handshake, with garbage", who, max(handshakes), "B"),
        _row("free while connected, first tenth", who, _middle(early, "heap"), "B"),
        _row("free while connected, last tenth", who, _middle(late, "heap"), "B"),
        _row("largest free block, first tenth", who, first, "B"),
        {
            **_row("largest free block, last tenth", who, last, "B"),
            "ratio": last / first,
            "target": "no smaller",
            "met": last >= 0.95 * first,
        },
        _row("smallest largest free block", who, min(beat["blk"] for beat in beats), "B"),
    ]


def _middle(beats: list[dict[str, Any]], key: str) -> float:
    return float(statistics.median(beat[key] for beat in beats))


def _update() -> list[dict[str, Any]]:
    """The updater alone, by the smallest heap in which an update succeeds."""
    from tests.faults import inputs
    from tests.sim.update_harness import Device, Publisher, Web

    if not vm_path(32):
        return []
    keys = inputs.Keys()
    publisher = Publisher(keys)
    old = {f"node/part{i}.mpy": inputs.noise(f"part{i}", 900) for i in range(39)}
    old["node/main.mpy"] = inputs.noise("main", 5000)
    new = {path: data[:-1] + b"!" for path, data in old.items()}
    document, _ = publisher.release(old)
    publisher.head(publisher.release(new)[1])
    with tempfile.TemporaryDirectory(prefix="heap-") as folder:
        device = Device(Path(folder), bits=32).compile()
        with Web(publisher.paths).running() as url:

            def check(heap: str) -> Any:
                device.manufacture(keys.root(1), document, old)
                return device.check(url, heap=heap)

            roomy = check("400k")
            spare = _UPDATE_FROM
            while check(str(int((roomy.loaded_bytes + spare) / _USABLE))).outcome != "reboot":
                spare += _UPDATE_STEP
    who = "updater, 40 files"
    return [
        _row("code loaded for an update", who, roomy.loaded_bytes - roomy.idle_bytes, "B"),
        {
            **_row("update's peak above that", who, spare, "B"),
            "ratio": spare / (24 * 1024),
            "target": "<= 24 KiB",
            "met": spare <= 24 * 1024,
        },
    ]


def _row(name: str, who: str, value: float, unit: str) -> dict[str, Any]:
    return {"name": name, "who": who, "value": value, "unit": unit}
