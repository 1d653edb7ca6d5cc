"""`outpost device`: list, show, command and retire devices."""

import json
from pathlib import Path
from typing import Any

import click

from outpost.cli import output
from outpost.cli.fleet import dir_option, server_option


@click.group()
def command() -> None:
    """List, show and command devices."""


def _client(folder: Path, server: str | None) -> Any:
    from outpost.fleet.client import FleetClient

    return FleetClient.find(folder, server)


@command.command("list")
@click.option("--product", help="Only devices of this product.")
@dir_option
@server_option
@click.pass_context
def list_(ctx: click.Context, product: str | None, folder: Path, server: str | None) -> None:
    """All devices with state, version and last reading."""
    found = [
        device
        for device in _client(folder, server).get("/devices")["devices"]
        if product in (None, device["product"])
    ]
    head = ["DEVICE", "BOARD", "STATE", "VERSION", "LAST SEEN", "LAST READING", "ALARMS"]
    output.result(
        ctx,
        found,
        lambda: output.table([_row(d) for d in found], head) if found else "no devices yet",
    )


def _row(device: dict[str, Any]) -> list[str]:
    from outpost.fleet.client import printable
    from outpost.fleet.pages import ago, quantity

    state = device["state"]
    if state == "active":
        state = "online" if device["online"] else "offline"
    trial = device["release"] and not device["confirmed"]
    version = printable(device["version"] or "-") + (" (trial)" if trial else "")
    readings = "  ".join(quantity(item) for item in device["latest"][:3])
    return [
        device["id"],
        device["board"],
        state,
        version,
        ago(device["last_seen_ms"]),
        printable(readings) or "-",
        ", ".join(device["alarms"]) or "-",
    ]


@command.command()
@click.argument("device")
@dir_option
@server_option
@click.pass_context
def show(ctx: click.Context, device: str, folder: Path, server: str | None) -> None:
    """One device with its last readings and events."""
    from outpost.fleet.client import quoted

    client = _client(folder, server)
    found = client.get(f"/devices/{quoted(device)}")["device"]
    found["events"] = client.get("/events", device=device, limit=20)["events"]
    output.result(ctx, found, lambda: _describe(found))


def _describe(device: dict[str, Any]) -> str:
    from outpost.fleet.client import printable
    from outpost.fleet.pages import quantity, when

    facts = (
        "product",
        "board",
        "hw_uid",
        "state",
        "online",
        "version",
        "slot",
        "epoch",
        "release",
        "confirmed",
        "boot",
        "reset_cause",
        "cert_serial",
    )
    rows = [[name, printable(device[name])] for name in facts if device[name] is not None]
    rows.append(["last seen", when(device["last_seen_ms"])])
    rows += [[item["metric"], printable(quantity(item))] for item in device["latest"]]
    flow = device["flow"]
    rows.append(
        [
            "records",
            f"{flow['received']}, {flow['lost']} lost, "
            f"{flow['duplicates']} twice, {device['malformed']} malformed",
        ]
    )
    lines = [output.table(rows), ""]
    for event in device["events"]:
        lines.append(
            f"{when(event['received_ms'])}  {printable(event['type'])}  "
            + printable(event["body"].get("text") or json.dumps(event["body"]))
        )
    return "\n".join(lines)


@command.command("command")
@click.argument("device")
@click.argument("verb")
@click.argument("args", default="{}")
@click.option(
    "--ttl",
    "ttl_s",
    type=click.IntRange(1, 30 * 86_400),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="How long the device may still run it.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.IntRange(0),
    default=0,
    metavar="SECONDS",
    help="Wait so long for the answer.",
)
@dir_option
@server_option
@click.pass_context
def command_(  # noqa: PLR0913 - click passes each option
    ctx: click.Context,
    device: str,
    verb: str,
    args: str,
    ttl_s: int,
    wait_s: int,
    folder: Path,
    server: str | None,
) -> None:
    """Send VERB (ping, reboot, check-update, …) with ARGS (JSON) to a device."""
    from outpost.fleet.client import printable, quoted

    try:
        fields = json.loads(args)
    except ValueError:
        raise click.BadParameter("not JSON", param_hint="ARGS") from None
    client = _client(folder, server)
    sent = client.post(
        f"/devices/{quoted(device)}/commands", {"cmd": verb, "args": fields, "ttl_s": ttl_s}
    )["command"]
    if wait_s:
        sent = _await_reply(client, sent, wait_s)
    answer = printable(json.dumps(sent["reply"])) if sent["reply"] else "sent, no answer yet"
    output.result(ctx, sent, f"{sent['id']}  {answer}", _outcome(sent, wait_s))


def _await_reply(client: Any, sent: dict[str, Any], wait_s: int) -> dict[str, Any]:
    import time

    deadline = time.monotonic() + wait_s
    while sent["ok"] is None and time.monotonic() < deadline:
        time.sleep(0.2)
        sent = client.get(f"/commands/{sent['id']}")["command"]
    return sent


def _outcome(sent: dict[str, Any], wait_s: int) -> int:
    from outpost.errors import ExitCode

    if sent["ok"] is None:
        return ExitCode.LINK_LOST if wait_s else ExitCode.OK
    return ExitCode.OK if sent["ok"] else ExitCode.FAILED


@command.command()
@click.argument("device")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--confirm", "confirmed", metavar="ID", help="The device's id, again, with --yes.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@dir_option
@server_option
@click.pass_context
def retire(  # noqa: PLR0913 - click passes each option
    ctx: click.Context,
    device: str,
    yes: bool,
    confirmed: str | None,
    dry_run: bool,
    folder: Path,
    server: str | None,
) -> None:
    """Revoke a device's certificate for good."""
    from outpost.fleet.client import quoted

    client = _client(folder, server)
    found = client.get(f"/devices/{quoted(device)}")["device"]
    if dry_run:
        output.result(
            ctx,
            {"device": device, "cert_serial": found["cert_serial"]},
            f"would revoke certificate {found['cert_serial']} of {device}",
        )
        return
    output.confirm(device, f"Retire {device}: its certificate is revoked.", yes, confirmed)
    done = client.post(f"/devices/{quoted(device)}/retire", {"confirm": device})["device"]
    output.result(ctx, done, f"{device} is {done['state']}")
