"""`outpost device`: list, show, command and retire devices."""

import base64
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
        state = device["presence"]
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
        "presence",
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
@click.option(
    "--ops",
    "ops_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Document of `outpost sign ops`: wipe and decommission need one.",
)
@click.option("--yes", is_flag=True, help="With --ops: do not ask.")
@click.option("--confirm", "confirmed", metavar="ID", help="The device's id, again, with --yes.")
@dir_option
@server_option
@click.pass_context
def command_(ctx: click.Context, /, **given: Any) -> None:
    """Send VERB (ping, reboot, self-test, …) with ARGS (JSON) to a device.

    docs/reference/commands.md lists the commands. Those that destroy something are run by a device
    only on the word of an ops key: sign one with `outpost sign ops`, and pass it with --ops.
    """
    from outpost.fleet.client import printable, quoted

    device, wait_s = given["device"], given["wait_s"]
    try:
        fields = json.loads(given["args"])
    except ValueError:
        raise click.BadParameter("not JSON", param_hint="ARGS") from None
    body = {"cmd": given["verb"], "args": fields, "ttl_s": given["ttl_s"]}
    if given["ops_file"] is not None:
        body["ops"] = base64.b64encode(given["ops_file"].read_bytes()).decode()
        warning = f"{given['verb']} {device}: what it has stored is gone for good."
        output.confirm(device, warning, given["yes"], given["confirmed"])
    client = _client(given["folder"], given["server"])
    sent = client.post(f"/devices/{quoted(device)}/commands", body)["command"]
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
@click.argument("action", type=click.Choice(["show", "set", "unset"]), default="show")
@click.argument("settings", nargs=-1, metavar="[NAME=VALUE | NAME]...")
@dir_option
@server_option
@click.pass_context
def desired(ctx: click.Context, /, **given: Any) -> None:
    """Show or change the settings that a device is to have.

    `desired ID set heartbeat_s=60 sample_s=10`, `desired ID unset sample_s`. The device applies
    each setting that is within its bounds, and says why it does not apply the others.
    """
    from outpost.fleet.client import quoted

    device, action = given["device"], given["action"]
    path = f"/devices/{quoted(device)}/desired"
    client = _client(given["folder"], given["server"])
    if action == "show":
        found = client.get(path)["settings"]
    elif action == "set":
        found = client.post(path, {"set": dict(map(_setting, given["settings"]))})["settings"]
    else:
        found = client.post(path, {"unset": list(given["settings"])})["settings"]
    output.result(ctx, found, lambda: _settings_table(found))


def _setting(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    try:
        return name, int(value)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not name=number", param_hint="settings") from None


def _settings_table(found: dict[str, Any]) -> str:
    from outpost.fleet.client import printable

    def cell(value: object) -> str:
        return "-" if value is None else printable(value)

    head = ["SETTING", "WANTED", "IN FORCE", "WHY NOT"]
    rows = [
        [cell(row["name"]), cell(row["desired"]), cell(row["reported"]), cell(row["why"]) or "-"]
        for row in found["rows"]
    ]
    state = f"version {found['version']} wanted, {found['reported_version']} in force"
    return output.table([*rows], head) + f"\n{found['state']}: {state}"


@command.command()
@click.argument("device")
@click.option(
    "--bytes",
    "most",
    type=click.IntRange(1, 4096),
    default=4096,
    show_default=True,
    help="At most so much of it, from the end.",
)
@click.option(
    "--level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="debug",
    show_default=True,
    help="Lines of this level and above.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    metavar="SECONDS",
    help="How long the device has to answer.",
)
@dir_option
@server_option
@click.pass_context
def log(ctx: click.Context, /, **given: Any) -> None:
    """Pull the newest lines of a device's log."""
    from outpost.errors import ExitCode
    from outpost.fleet.client import printable, quoted

    device = given["device"]
    level = ["debug", "info", "warning", "error"].index(given["level"])
    client = _client(given["folder"], given["server"])
    body = {"cmd": "log-pull", "args": {"bytes": given["most"], "level": level}, "ttl_s": 3600}
    sent = client.post(f"/devices/{quoted(device)}/commands", body)["command"]
    sent = _await_reply(client, sent, given["wait_s"])
    if not sent["ok"]:
        code = (sent["reply"] or {}).get("code", "no answer yet; the device may be asleep")
        exit_code = ExitCode.LINK_LOST if sent["ok"] is None else ExitCode.FAILED
        output.fail(exit_code, "log", f"{device}: {printable(code)}", None)
    found = client.get("/events", device=device, type="log", limit=50)["events"]
    pieces = [e for e in found if e["received_ms"] >= sent["issued_ms"]]
    text = "".join(e["body"]["text"] for e in reversed(pieces))
    output.result(
        ctx, {"device": device, "log": text}, "\n".join(map(printable, text.split("\n")))
    )


@command.command()
@click.argument("device")
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The CSV file: time_ms and a column for each metric.",
)
@click.option(
    "--days",
    type=click.FloatRange(0, min_open=True),
    default=400,
    show_default=True,
    help="So far back from now.",
)
@dir_option
@server_option
@click.pass_context
def export(ctx: click.Context, /, device: str, out: Path, **given: Any) -> None:
    """Write a device's recorded telemetry to a file, as `outpost model train` reads it."""
    import time

    from outpost.fleet.client import quoted
    from outpost.fleet.export import collect, write_csv

    now_ms = time.time_ns() // 1_000_000
    # A day ahead: a device's clock may be.
    span_ms = (max(0, now_ms - int(given["days"] * 86_400_000)), now_ms + 86_400_000)
    client = _client(given["folder"], given["server"])
    points = collect(client, f"/devices/{quoted(device)}/telemetry", span_ms)
    columns = write_csv(out, points)
    body = {"out": str(out), "rows": len(points), "columns": columns}
    output.result(ctx, body, f"{out}: {len(points)} rows of {', '.join(columns) or 'nothing'}")


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
