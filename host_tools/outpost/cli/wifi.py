"""outpost wifi: other networks for a board that has its identity already."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from outpost.cli import output

if TYPE_CHECKING:
    from outpost.factory.network import Change


@click.command()
@click.option("--port", required=True, help="Serial port, socket://HOST:PORT, id:SERIAL or auto.")
@click.option("--board", default="rpi_pico_w", show_default=True, help="What auto looks for.")
@click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="TOML file with wifi, country, power_save, static, dns and probe, as in a site file.",
)
@click.option("--ssid", help="One network; its password from OUTPOST_WIFI_PSK, else a prompt.")
@click.option("--open", "is_open", is_flag=True, help="With --ssid: it has no password.")
@click.option("--hidden", is_flag=True, help="With --ssid: it does not say its name.")
@click.option("--priority", type=int, default=0, help="With --ssid: the highest is joined first.")
@click.option("--add", is_flag=True, help="Keep the networks that the board knows.")
@click.pass_context
def command(ctx: click.Context, /, port: str, board: str, add: bool, **options: Any) -> None:
    """Tell a provisioned board its networks, over USB; it is reset and joins the best of them.

    Identity, broker and data stay as they are. Passwords come from the file, the environment or
    a prompt, and are never read back from a board.
    """
    from outpost.boards import load_board
    from outpost.factory import network, ports
    from outpost.factory.link import open_link

    if bool(options["path"]) == bool(options["ssid"]):
        output.fail(2, "usage", "name either --file or --ssid", "outpost wifi --help")
    change = _from_file(options["path"], add) if options["path"] else _from_options(options, add)
    link = open_link(ports.choose(port, load_board(board)))
    try:
        device_id, names = network.apply(link, change)
    finally:
        link.close()
    shown = ", ".join(names) or "no network"
    output.result(ctx, {"device": device_id, "wifi": list(names)}, f"{device_id} knows {shown}")


def _from_file(path: Path, add: bool) -> Change:
    from outpost.factory import network, settings

    raw, reader = settings.read_site(path)
    unknown = sorted(set(raw) - set(network.KEYS))
    if unknown:
        raise reader.invalid(f"unknown key {unknown[0]}", "known: " + ", ".join(network.KEYS))
    return network.Change(reader.wifi(), reader.network(), add)


def _from_options(options: dict[str, Any], add: bool) -> Change:
    from outpost.factory import network

    ssid = options["ssid"]
    psk = "" if options["is_open"] else _password(ssid)
    network.check_credentials(ssid, psk)
    found = network.Wifi(ssid, psk, options["priority"], options["hidden"])
    return network.Change((found,), add=add)


def _password(ssid: str) -> str:
    import os

    from outpost.factory.network import PSK_ENV

    if PSK_ENV in os.environ:
        return os.environ[PSK_ENV]
    if not sys.stdin.isatty():
        output.fail(2, "no-password", f"no password for {ssid}", f"set {PSK_ENV}, or --open")
    password: str = click.prompt(f"Password of {ssid}", hide_input=True, err=True)
    return password
