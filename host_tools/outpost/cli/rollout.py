"""`outpost rollout`: a release out to the fleet in stages, and back again."""

from pathlib import Path
from typing import Any

import click

from outpost.cli import output
from outpost.cli.fleet import dir_option, server_option


@click.group()
def command() -> None:
    """Roll a release out in stages."""


def _client(folder: Path, server: str | None) -> Any:
    from outpost.fleet.client import FleetClient

    return FleetClient.find(folder, server)


def _line(rollout: dict[str, Any]) -> str:
    stage = rollout["stages"][rollout["stage"]]
    counts = ", ".join(f"{count} {state}" for state, count in rollout["counts"].items())
    reason = f" ({rollout['reason']})" if rollout["reason"] else ""
    return (
        f"{rollout['id']}  {rollout['product']} {rollout['version']}  {rollout['state']}"
        f"{reason}  stage {rollout['stage'] + 1}/{len(rollout['stages'])} {stage['name']}"
        f"  {counts}"
    )


@command.command()
@click.argument("product")
@click.argument("version")
@click.option(
    "--canary",
    "canaries",
    multiple=True,
    metavar="DEVICE",
    help="Device of the first stage; repeatable.",
)
@click.option(
    "--stages",
    default="1,5,25,50,100",
    show_default=True,
    help="Percentages of the stages after it, cumulative.",
)
@click.option(
    "--soak",
    "soak_s",
    type=click.IntRange(0),
    metavar="SECONDS",
    help="How long a stage has to stay healthy.",
)
@click.option(
    "--dark-after",
    "dark_after_s",
    type=click.IntRange(1),
    metavar="SECONDS",
    help="Silence that counts as failure.",
)
@click.option(
    "--policy",
    multiple=True,
    metavar="NAME=NUMBER",
    help="Any other entry of the policy; repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan that would be applied.")
@dir_option
@server_option
@click.pass_context
def create(  # noqa: PLR0913 - click passes each option
    ctx: click.Context,
    product: str,
    version: str,
    canaries: tuple[str, ...],
    stages: str,
    soak_s: int | None,
    dark_after_s: int | None,
    policy: tuple[str, ...],
    dry_run: bool,
    folder: Path,
    server: str | None,
) -> None:
    """Start rolling VERSION of PRODUCT out."""
    terms = _policy(policy)
    terms.update(
        (key, value)
        for key, value in (("soak_s", soak_s), ("dark_after_s", dark_after_s))
        if value is not None
    )
    plan: dict[str, Any] = {
        "product": product,
        "version": version,
        "stages": _stages(canaries, stages),
        "policy": terms,
    }
    if dry_run:
        lines = [
            f"{stage['name']}: {', '.join(stage.get('devices', [])) or 'cumulative'}"
            for stage in plan["stages"]
        ]
        output.result(ctx, {"plan": plan}, "would create:\n  " + "\n  ".join(lines))
        return
    made = _client(folder, server).post("/rollouts", plan)["rollout"]
    output.result(ctx, made, lambda: _line(made))


def _stages(canaries: tuple[str, ...], percentages: str) -> list[dict[str, Any]]:
    stages: list[dict[str, Any]] = []
    if canaries:
        stages.append({"name": "canary", "devices": list(canaries)})
    try:
        numbers = [float(part) for part in percentages.split(",") if part.strip()]
    except ValueError:
        raise click.BadParameter(
            "percentages with commas between them, such as 10,50,100", param_hint="--stages"
        ) from None
    return stages + [{"name": f"{number:g} %", "percent": number} for number in numbers]


def _policy(entries: tuple[str, ...]) -> dict[str, Any]:
    terms: dict[str, Any] = {}
    for entry in entries:
        name, _, text = entry.partition("=")
        try:
            terms[name] = float(text) if "." in text else int(text)
        except ValueError:
            raise click.BadParameter(
                f"{entry!r} is not NAME=NUMBER", param_hint="--policy"
            ) from None
    return terms


@command.command("list")
@dir_option
@server_option
@click.pass_context
def list_(ctx: click.Context, folder: Path, server: str | None) -> None:
    """All rollouts, newest first."""
    found = _client(folder, server).get("/rollouts")["rollouts"]
    output.result(ctx, found, lambda: "\n".join(map(_line, found)) or "no rollouts yet")


@command.command()
@click.argument("rollout")
@dir_option
@server_option
@click.pass_context
def status(ctx: click.Context, rollout: str, folder: Path, server: str | None) -> None:
    """One rollout with the outcome on each device."""
    from outpost.fleet.client import printable, quoted

    found = _client(folder, server).get(f"/rollouts/{quoted(rollout)}")["rollout"]
    rows = [
        [d["id"], found["stages"][d["stage"]]["name"], d["state"], printable(d["code"]), d["back"]]
        for d in found["devices"]
    ]
    table = output.table(rows, ["DEVICE", "STAGE", "OUTCOME", "CODE", "TAKEN BACK"])
    output.result(ctx, found, f"{_line(found)}\n{table}")


def _order(
    ctx: click.Context, rollout: str, verb: str, where: tuple[Path, str | None], reason: str = ""
) -> None:
    from outpost.fleet.client import quoted

    path = f"/rollouts/{quoted(rollout)}/{verb}"
    found = _client(*where).post(path, {"reason": reason} if reason else {})["rollout"]
    output.result(ctx, found, lambda: _line(found))


@command.command()
@click.argument("rollout")
@click.option("--reason", default="by hand", show_default=True, help="Kept in the audit log.")
@dir_option
@server_option
@click.pass_context
def pause(ctx: click.Context, rollout: str, reason: str, folder: Path, server: str | None) -> None:
    """Offer it to nobody else; devices that have it go on."""
    _order(ctx, rollout, "pause", (folder, server), reason)


@command.command()
@click.argument("rollout")
@dir_option
@server_option
@click.pass_context
def resume(ctx: click.Context, rollout: str, folder: Path, server: str | None) -> None:
    """Go on in spite of the failures so far."""
    _order(ctx, rollout, "resume", (folder, server))


@command.command()
@click.argument("rollout")
@click.option("--reason", default="by hand", show_default=True, help="Kept in the audit log.")
@dir_option
@server_option
@click.pass_context
def abort(ctx: click.Context, rollout: str, reason: str, folder: Path, server: str | None) -> None:
    """Stop, and take every device back to what it ran before."""
    _order(ctx, rollout, "abort", (folder, server), reason)
