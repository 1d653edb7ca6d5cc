"""Which serial port a board is at.

Owns the rule: a port that was named is used, and no other is opened; "auto" is accepted only when
exactly one port carries one of the board's USB ids. Guessing the first of several flashes the
wrong board.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from outpost.boards import Board
from outpost.errors import ExitCode, OutpostError


@dataclass(frozen=True)
class Port:
    """One serial port, as the operating system lists it."""

    device: str
    usb_id: str = ""
    serial: str = ""
    location: str = ""


def list_ports() -> list[Port]:
    """Every serial port of this machine, sorted."""
    from serial.tools import list_ports as listing

    found = []
    for port in listing.comports():
        usb = f"{port.vid:04x}:{port.pid:04x}" if port.vid is not None else ""
        found.append(Port(port.device, usb, port.serial_number or "", port.location or ""))
    return sorted(found, key=lambda port: port.device)


def choose(given: str, board: Board, ports: Sequence[Port] | None = None) -> str:
    """`given` resolved: a device or URL as it is, id:<usb serial>, loc:<usb location>, or auto."""
    if given != "auto" and not given.startswith(("id:", "loc:")):
        return given
    known = list_ports() if ports is None else list(ports)
    kind, _, value = given.partition(":")
    if kind == "id":
        fitting = [port for port in known if port.serial == value]
    elif kind == "loc":
        fitting = [port for port in known if port.location == value]
    else:
        fitting = [port for port in known if port.usb_id in board.usb.ids]
    if len(fitting) == 1:
        return fitting[0].device
    shown = ", ".join(port.device for port in fitting or known) or "none"
    what = f"{len(fitting)} ports fit" if fitting else f"no port fits {board.title}"
    raise OutpostError(
        "port-ambiguous" if fitting else "port-none",
        f"{what} ({shown})",
        "connect one board, or name it: --port PATH, id:SERIAL or loc:LOCATION",
        ExitCode.DEVICE_NOT_FOUND,
    )
