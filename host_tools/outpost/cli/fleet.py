"""`outpost fleet`: make a fleet, serve it, take releases in, see what was refused."""

from pathlib import Path
from typing import Any

import click

from outpost.cli import output

dir_option = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default="fleet",
    envvar="OUTPOST_FLEET",
    show_default=True,
    show_envvar=True,
    help="The fleet's folder.",
)
server_option = click.option(
    "--server",
    help="The server's address; default: the one that runs for --dir.",
    envvar="OUTPOST_SERVER",
    show_envvar=True,
)


@click.group()
def command() -> None:
    """Serve and inspect the fleet."""


@command.command()
@dir_option
@click.option(
    "--trust",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of `outpost keys create`: trust root, and the head key.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="HTTP port; 0 takes a free one.",
)
@click.option(
    "--broker-port",
    type=click.IntRange(0, 65535),
    default=8883,
    show_default=True,
    help="MQTT port; 0 takes a free one.",
)
@click.option(
    "--name",
    "names",
    multiple=True,
    help="Another name or address devices know this machine by; repeatable.",
)
@click.pass_context
def init(  # noqa: PLR0913 - click passes each option
    ctx: click.Context,
    folder: Path,
    trust: Path | None,
    host: str,
    port: int,
    broker_port: int,
    names: tuple[str, ...],
) -> None:
    """Make a fleet: private CA, registry, token."""
    from outpost.fleet.fleet import Fleet, FleetConfig

    with Fleet.create(folder, trust, FleetConfig(host, port, broker_port, names)) as fleet:
        made = {
            "dir": str(folder),
            "root": fleet.root_version,
            "token_file": str(folder / "token"),
        }
    text = f"fleet in {folder}, trust root {made['root'] or 'none'}; token in {folder / 'token'}"
    output.result(ctx, made, text)


@command.command()
@dir_option
@click.option("--host", help="Listen on this address instead of the fleet's own.")
@click.option("--port", type=click.IntRange(0, 65535), help="HTTP port instead.")
@click.option("--broker-port", type=click.IntRange(0, 65535), help="Broker port instead.")
@click.pass_context
def serve(
    ctx: click.Context, folder: Path, host: str | None, port: int | None, broker_port: int | None
) -> None:
    """Run broker, ingest, rollouts and web page until interrupted."""
    from dataclasses import replace

    from outpost.fleet.fleet import Fleet
    from outpost.fleet.server import FleetServer

    with Fleet.open(folder) as stored:
        config = stored.config
    config = replace(
        config,
        host=host or config.host,
        http_port=config.http_port if port is None else port,
        broker_port=config.broker_port if broker_port is None else broker_port,
    )
    with FleetServer(folder, config=config) as server:
        output.result(
            ctx,
            {
                "url": server.url,
                "broker_host": server.broker_host,
                "broker_port": server.broker_port,
            },
            f"fleet at {server.url}, broker at {server.broker_host}:"
            f"{server.broker_port} (mutual TLS)",
        )
        _wait_for_signal()
    output.note("stopped")


def _wait_for_signal() -> None:
    import signal
    import threading

    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    # A wait without a timeout would keep Python from running the handler on some platforms.
    while not done.wait(1.0):
        pass


@command.command()
@click.argument("release", type=click.Path(path_type=Path, exists=True, file_okay=False))
@dir_option
@click.pass_context
def publish(ctx: click.Context, release: Path, folder: Path) -> None:
    """Take a signed build folder into the fleet, once its signatures verify."""
    from outpost.fleet import views
    from outpost.fleet.fleet import Fleet

    with Fleet.open(folder) as fleet:
        taken = views.release(fleet.publish(release))
    output.result(ctx, taken, f"{taken['product']} {taken['version']} {taken['digest']}")


@command.command()
@dir_option
@server_option
@click.pass_context
def status(ctx: click.Context, folder: Path, server: str | None) -> None:
    """Figures of the whole fleet."""
    from outpost.fleet.client import FleetClient

    client = FleetClient.find(folder, server)
    figures: dict[str, Any] = {"url": client.url, **client.get("/summary")["summary"]}
    output.result(
        ctx, figures, output.table([[key, str(value)] for key, value in figures.items()])
    )


@command.command()
@dir_option
@server_option
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=50,
    show_default=True,
    help="How many, newest first.",
)
@click.pass_context
def security(ctx: click.Context, folder: Path, server: str | None, limit: int) -> None:
    """What the broker and ingest refused."""
    from outpost.fleet.client import FleetClient, printable
    from outpost.fleet.pages import when

    entries = FleetClient.find(folder, server).get("/security", limit=limit)["security"]
    rows = [
        [
            when(e["ts_ms"]),
            e["kind"],
            printable(e["device"]) or "-",
            e["address"] or "-",
            printable(e["detail"]),
        ]
        for e in entries
    ]
    output.result(ctx, entries, output.table(rows, ["TIME", "WHAT", "DEVICE", "FROM", "DETAIL"]))


@command.command()
@dir_option
@click.pass_context
def audit(ctx: click.Context, folder: Path) -> None:
    """Check the audit log's hash chain and show its last lines."""
    from dataclasses import asdict

    from outpost.errors import ExitCode
    from outpost.fleet.fleet import Fleet
    from outpost.fleet.pages import when

    with Fleet.open(folder) as fleet:
        broken, lines = fleet.registry.audit.verify(), fleet.registry.audit.lines(50)
    rows = [
        [str(line.number), when(line.ts_ms), line.actor, line.action, line.subject]
        for line in lines
    ]
    text = output.table(rows, ["NO", "TIME", "WHO", "WHAT", "ON"])
    verdict = "chain intact" if broken is None else f"chain broken at line {broken}"
    output.result(
        ctx,
        {"broken_at": broken, "lines": [asdict(line) for line in lines]},
        f"{text}\n{verdict}".strip(),
        ExitCode.OK if broken is None else ExitCode.VERIFICATION_FAILED,
    )
