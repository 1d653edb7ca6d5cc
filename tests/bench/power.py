"""Average current of the battery product against a naive loop and against the floor.

    python -m tests.bench power [days]

The naive loop connects at each sample, as most examples do. The floor is what no firmware avoids
with the same readings and the same number of connections: sleep current, the chip's own boot, the
sensor's conversion, joining by a cached access point, and the TLS handshake. All three are priced
by one board profile (outpost.power), and tests/sim/test_month.py holds that to the meter. The rows
with outages are for information: their floor has no failed attempts, and nobody can do without.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from outpost.boards import load_board
from outpost.build.product import load_product
from outpost.power import Prediction, Profile, predict
from outpost.sim.scenario import Scenario

from tests.bench.month import nights
from tests.month_kit import BATTERY_PRODUCT

_BOARDS = ("esp32_generic", "rpi_pico_w")
_TARGET = 1.25


def floor_ua(profile: Profile, found: Prediction) -> float:
    """The unavoidable average for the wakes and deliveries of `found`."""
    current, chip = profile.current, profile.board.chip
    wake = (profile.boot_ms + profile.sensor().awake_ms) * current.active
    join = profile.join_ms(-55, cached=True)
    talk = chip.work.handshake_ms
    call = join * (current.active + current.radio_connecting)
    call += talk * (current.active + current.radio_idle)
    sleep = found.elapsed_ms * profile.sleep_ua
    return (sleep + found.wakes * wake + found.connects * call) / found.elapsed_ms


def measure(arguments: list[str]) -> list[dict[str, Any]]:
    days = float(arguments[0]) if arguments else 30.0
    rows = []
    for name in _BOARDS:
        rows += _against_floor(name, Scenario(days=days), "")
        rows += _against_floor(name, nights(days), " with outages")
    return rows


def _against_floor(name: str, scenario: Scenario, more: str) -> list[dict[str, Any]]:
    """Ours must be near the floor where nothing fails: an outage is only found out by trying."""
    tables = load_product(BATTERY_PRODUCT).tables
    naive = deepcopy(tables)
    naive["battery"].update(connect_every=1, target_days=0)
    board = load_board(name)
    ours = predict(tables, board, scenario)
    floor = floor_ua(Profile(board), ours)
    always = predict(naive, board, scenario).average_ua
    ratio = ours.average_ua / floor
    mine = _row(name + more, "outpost", ours.average_ua, ratio)
    if not more:
        mine.update(target=f"<= {_TARGET}", met=ratio <= _TARGET)
    return [
        _row(name + more, "floor", floor, 1.0),
        mine,
        _row(name + more, "connects at each sample", always, always / floor),
    ]


def _row(board: str, who: str, value: float, ratio: float) -> dict[str, Any]:
    return {"name": f"{board}, average", "who": who, "value": value, "unit": "uA", "ratio": ratio}
