"""`outpost power`: how long will the battery last?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from outpost.cli import output
from outpost.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from outpost.power import Prediction
    from outpost.sim.scenario import Scenario

_DIR = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("product", type=_DIR)
@click.option("--board", required=True, help="Board whose current profile counts.")
@click.option(
    "--scenario", metavar="FILE|NAME", help="Signal and outages as TOML, as for `sim run`."
)
@click.option("--days", type=click.FloatRange(0.1, 3650), help="Else the scenario's, or 30.")
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write a .png or .svg here."
)
@click.pass_context
def command(ctx: click.Context, /, product: Path, board: str, **options: Any) -> None:
    """Predict average current and battery life of PRODUCT on a board.

    The device's own scheduler is run over the scenario; the currents are those of boards/.
    """
    from outpost.boards import load_board
    from outpost.build.configure import check_clock
    from outpost.build.product import load_product
    from outpost.power import predict, sensing_of

    draw = _drawer(options["plot"])
    found = load_product(product)
    if found.mode(board) != "battery":
        output.fail(
            ExitCode.USAGE, "power-mode", f"{found.name} is not in battery mode on {board}",
            f'write [boards.{board}] mode = "battery" in product.toml',
        )  # fmt: skip
    scenario = _scenario(options["scenario"], options["days"])
    check_clock(found, [load_board(board)])
    sensing = sensing_of(found)
    for rail in sensing.unpriced:
        output.note(f"rail {rail} is priced at nothing: say what it takes as options.rail_ua")
    prediction = predict(found.tables, load_board(board), scenario, sensing)
    if draw:
        options["plot"].write_bytes(draw(prediction, f"{found.name} on {board}"))
        output.note(f"plot: {options['plot']}")
    body = {"product": found.name, "board": board, **prediction.as_dict()}
    output.result(ctx, body, lambda: _text(prediction))


def _drawer(plot: Path | None) -> Callable[[Prediction, str], bytes] | None:
    """What draws the kind of picture that the file's name asks for."""
    if plot is None:
        return None
    from outpost.power.plot import FORMATS

    if plot.suffix.lower() not in FORMATS:
        known = " or ".join(FORMATS)
        output.fail(ExitCode.USAGE, "power-plot", f"{plot} is no {known}", "--plot life.png")
    return FORMATS[plot.suffix.lower()]


def _scenario(path: str | None, days: float | None) -> Scenario:
    from dataclasses import replace

    from outpost.sim.scenario import Scenario, load_scenario

    scenario = load_scenario(path) if path else Scenario(days=30.0)
    return replace(scenario, days=days) if days else scenario


def _text(found: Prediction) -> str:
    from outpost.power.predict import PARTS

    total = found.total_mah or 1.0
    rows = []
    for part in PARTS:
        mah = found.charge_uams[part] / 3_600_000_000
        rows.append([part, f"{mah:.3f}", f"{mah / total:.1%}"])
    life = f"{found.life_days:.0f} days" if found.life_days else "no capacity_mah in product.toml"
    return "\n".join(
        [
            output.table(rows, ["PART", "mAh", "SHARE"]),
            "",
            f"{found.average_ua:.1f} uA on average; {found.wakes} wakes, {found.connects} "
            f"connections, {found.failures} failed",
            f"battery life: {life}",
        ]
    )
