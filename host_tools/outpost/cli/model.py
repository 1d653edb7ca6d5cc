"""`outpost model`: anomaly models for the device, trained from recorded telemetry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from outpost.cli import output

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def command() -> None:
    """Train the small model that watches a device's rows, and try it out."""


@command.command()
@click.argument("data", type=_FILE)
@click.option("--schema", required=True, type=_FILE, help="schema.cbor of the release.")
@click.option("--column", "columns", multiple=True, help="Watch this; repeatable. Else all.")
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the model goes: a file that product.toml names.",
)
@click.option(
    "--false-alarms",
    default=0.001,
    type=click.FloatRange(0, 0.2),
    show_default=True,
    help="Share of ordinary rows that may raise an alarm; sets the threshold.",
)
@click.option("--seed", default=1, show_default=True, help="Same seed, same model.")
@click.pass_context
def train(ctx: click.Context, /, data: Path, schema: Path, **options: Any) -> None:
    """Train a decision forest on DATA, a CSV of rows that are mostly normal.

    Put the result beside product.toml as model.cbor: `outpost build` ships it, and the device
    reports the rows it finds unusual as events, with a high-rate capture around them.
    """
    from outpost.model.samples import read_rows, scales
    from outpost.model.train import Settings
    from outpost.model.train import train as train_model

    exponents = scales(schema)
    columns = list(options["columns"]) or list(exponents)
    rows = read_rows(data, _known(columns, exponents), exponents)
    made = train_model(rows, columns, Settings(options["false_alarms"], options["seed"]))
    options["out"].write_bytes(made.data)
    body = {"out": str(options["out"]), "bytes": len(made.data), "rows": made.rows}
    body.update(trees=made.trees, threshold=made.threshold, flagged=made.flagged)
    text = f"{options['out']}: {len(made.data)} bytes, {made.trees} trees, {made.rows} rows"
    output.result(ctx, body, text + f", {made.flagged} of them called unusual")


@command.command()
@click.argument("model", type=_FILE)
@click.argument("data", type=_FILE)
@click.option("--schema", required=True, type=_FILE, help="schema.cbor of the release.")
@click.pass_context
def test(ctx: click.Context, /, model: Path, data: Path, schema: Path) -> None:
    """Run MODEL over DATA as a device would, and name the rows it reports."""
    from node.core.model import Model

    from outpost.model.samples import read_rows, scales
    from outpost.model.train import judge

    exponents = scales(schema)
    columns = Model(model.read_bytes()).columns
    rows = read_rows(data, _known(columns, exponents), exponents)
    found = judge(model.read_bytes(), rows)
    body = {"rows": len(rows), "unusual": found}
    shown = ", ".join(map(str, found[:20])) + (" ..." if len(found) > 20 else "")
    output.result(ctx, body, f"{len(found)} of {len(rows)} rows: {shown}")


def _known(columns: list[str], exponents: dict[str, int]) -> list[str]:
    from outpost.errors import ExitCode

    for name in columns:
        if name not in exponents:
            fix = "its columns: " + ", ".join(exponents)
            output.fail(ExitCode.USAGE, "model-column", f"the schema has no column {name}", fix)
    return columns
