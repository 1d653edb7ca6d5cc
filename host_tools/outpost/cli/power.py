"""`outpost power`: how long will the battery last?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from outpost.cli import output
from outpost.errors import ExitCode

if TYPE_CHECKING:
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
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write a .svg here.")
@click.pass_context
def command(ctx: click.Context, /, product: Path, board: str, **options: Any) -> None:
    """Predict average current and battery life of PRODUCT on a board.

    The device's own scheduler is run over the scenario; the currents are those of boards/.
    """
    from outpost.boards import load_board
    from outpost.build.product import load_product
    from outpost.power import predict

    plot = options["plot"]
    if plot and plot.suffix != ".svg":
        output.fail(ExitCode.USAGE, "power-plot", f"{plot} is not an .svg", "--plot life.svg")
    found = load_product(product)
    if found.tables["telemetry"]["mode"] != "battery":
        output.fail(
            ExitCode.USAGE, "power-mode", f"{found.name} is not in battery mode",
            'set telemetry.mode = "battery" in product.toml',
        )  # fmt: skip
    scenario = _scenario(options["scenario"], options["days"])
    prediction = predict(found.tables, load_board(board), scenario)
    if plot:
        from outpost.power.plot import svg

        plot.write_text(svg(prediction, f"{found.name} on {board}"), encoding="utf-8")
        output.note(f"plot: {plot}")
    body = {"product": found.name, "board": board, **prediction.as_dict()}
    output.result(ctx, body, lambda: _text(prediction))


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
