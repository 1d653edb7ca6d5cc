"""A month of battery mode with nightly outages: the meter against the prediction, and every
reading accounted for.

    python -m tests.bench month [days]

Virtual time is modelled, so the figures are the same on every machine; only `real time` is not.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outpost.boards import load_board
from outpost.build.product import load_product
from outpost.power import Prediction, predict, sensing_of
from outpost.sim import SimBoard
from outpost.sim.accounts import Accounts, settle
from outpost.sim.scenario import Battery, Happening, Interval, Scenario, Signal

from tests.month_kit import Field

_BOARD = "esp32_generic"
_LIMIT_S = 1800.0
_QUICK_S = 180.0
_DAY_S = 86400
_AGREE = 0.05


def nights(days: float, events: tuple[Happening, ...] = ()) -> Scenario:
    """Wi-Fi is off from 01:00 to 05:00, what lies behind it from 22:00 to 23:00."""
    return Scenario(
        days=days,
        step_s=1800,
        signals=(("air.temperature_mc", Signal(12000, 6000, 200)),),
        intervals=(
            Interval("wifi.up", 0, 3600, 4 * 3600, _DAY_S),
            Interval("net.up", 0, 22 * 3600, 3600, _DAY_S),
        ),
        events=events,
        battery=Battery("battery.millivolts", 2500, 4200, 3300),
    )


@dataclass(frozen=True)
class Month:
    """What came of it."""

    board: SimBoard
    predicted: Prediction
    accounts: Accounts
    duplicates: int
    real_s: float

    @property
    def error(self) -> float:
        """Metered over predicted average current, minus 1."""
        return self.board.meter.average_ua / self.predicted.average_ua - 1


def play(field: Field, scenario: Scenario, name: str = _BOARD) -> Month:
    """Provision a board in `field` and play the scenario to its end."""
    flash, device = field.provisioned(name)
    began = time.monotonic()
    board, taken = field.run(name, flash, scenario, _LIMIT_S)
    real_s = time.monotonic() - began
    flow = _settled_flow(field)
    accounts = settle(board, taken, flow.received)
    product = load_product(field.product)
    predicted = predict(product.tables, load_board(name), scenario, sensing_of(product))
    return Month(board, predicted, accounts, flow.duplicates, real_s)


def _settled_flow(field: Field) -> Any:
    """The registry's count, once it has taken in what the broker has acknowledged."""
    last, since = field.server.registry.telemetry.flow(), time.monotonic()
    while time.monotonic() - since < 1.0:
        time.sleep(0.1)
        flow = field.server.registry.telemetry.flow()
        if flow != last:
            last, since = flow, time.monotonic()
    return last


def measure(arguments: list[str]) -> list[dict[str, Any]]:
    days = float(arguments[0]) if arguments else 30.0
    with tempfile.TemporaryDirectory(prefix="month-") as folder, Field(Path(folder)) as field:
        found = rows(play(field, nights(days)))
    return [*found, _row("processor time, with build and set-up", "this machine", _used_s(), "s")]


def _used_s() -> float:
    """Processor time of this process and of all that it has run: boards, broker, compiler."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def rows(month: Month) -> list[dict[str, Any]]:
    accounts = month.accounts
    found = [
        _row("average current", "meter", month.board.meter.average_ua, "uA"),
        {
            **_row("average current", "prediction", month.predicted.average_ua, "uA"),
            "ratio": 1 + month.error,
            "target": "within 5 %",
            "met": abs(month.error) <= _AGREE,
        },
    ]
    for name, count in accounts.as_dict().items():
        found.append(_row(f"readings {name}", "device and fleet", count, ""))
    found[-1].update(target="0", met=accounts.lost == 0)
    found.append(_row("duplicates", "fleet", month.duplicates, ""))
    boots = len(month.board.resets)
    found.append(_row("boots in real time", "this machine", 1000 * month.real_s / boots, "ms"))
    real = _row("real time", "this machine", month.real_s, "s")
    found.append({**real, "target": f"< {_QUICK_S:g}", "met": month.real_s < _QUICK_S})
    return found


def _row(name: str, who: str, value: float, unit: str) -> dict[str, Any]:
    return {"name": name, "who": who, "value": value, "unit": unit}


if __name__ == "__main__":
    from tests.bench.__main__ import show

    show("month", measure(sys.argv[1:]))
