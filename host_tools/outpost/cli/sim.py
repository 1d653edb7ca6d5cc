"""`outpost sim`: simulated boards on a workbench of their own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from outpost.cli import output
from outpost.errors import ExitCode

if TYPE_CHECKING:
    from outpost.fleet.registry import Flow
    from outpost.sim import Event, SimBoard, Wiring
    from outpost.sim.accounts import Taken

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_DIR = click.Path(file_okay=False, path_type=Path)
_INGEST_S = 1.0  # without news: the fleet has taken in everything
_bench = click.option(
    "--dir", "folder", type=_DIR, default=Path("build/sim"), show_default=True,
    help="Where the boards are kept.",
)  # fmt: skip


@click.group()
def command() -> None:
    """Run simulated boards: the real MicroPython VM, a simulated chip around it."""


@command.command()
@click.argument("name")
@click.option("--image", type=_FILE, help="Factory image to start from; else blank flash.")
@click.option("--board", help="Kind of board; else what the image's file is called.")
@click.option("--uid", default="", help="Hardware id in hex; else made up.")
@_bench
@click.pass_context
def new(ctx: click.Context, /, name: str, folder: Path, **options: Any) -> None:
    """Put a new board called NAME on the workbench."""
    from outpost.sim import workbench

    image, board = options["image"], options["board"]
    if image is None and board is None:
        output.fail(
            ExitCode.USAGE, "sim-which-board", "which kind of board?", "--image or --board"
        )
    kind = workbench.board_of_image(image, board) if image else board
    placed = workbench.create(folder, name, kind, image, options["uid"])
    body = {"name": placed.name, "board": placed.board, "flash": str(placed.flash(folder))}
    output.result(ctx, body, f"{name} ({placed.board}): outpost sim run {name}")


@command.command("list")
@_bench
@click.pass_context
def list_(ctx: click.Context, folder: Path) -> None:
    """The boards on the workbench."""
    from outpost.sim import workbench

    placed = workbench.listed(folder)
    body = [{"name": p.name, "board": p.board, "flash": str(p.flash(folder))} for p in placed]
    rows = [[p.name, p.board, str(p.flash(folder))] for p in placed]
    output.result(ctx, body, lambda: output.table(rows, ["NAME", "BOARD", "FLASH"]))


@command.command()
@click.argument("name")
@_bench
@click.pass_context
def remove(ctx: click.Context, name: str, folder: Path) -> None:
    """Take a board off the workbench; its flash is deleted."""
    from outpost.sim import workbench

    workbench.remove(folder, name)
    output.result(ctx, {"removed": name}, f"{name} removed")


@command.command()
@click.argument("names", nargs=-1, required=True)
@click.option(
    "--time",
    "pace",
    type=click.Choice(["real", "fast", "modelled"]),
    default="real",
    show_default=True,
    help="Fast skips idle waiting, not only deep sleep; modelled also charges the CPU's work as "
    "the chip's profile says, not as fast as this machine is.",
)
@click.option("--product", type=_FILE, help="product.toml whose sensors are soldered on.")
@click.option(
    "--scenario", metavar="FILE|NAME",
    help="Weather, outages and accidents as TOML; nights and hard-week come along.",
)
@click.option(
    "--fleet", type=_DIR,
    help="The fleet's folder: what was delivered, and what came twice, is counted there.",
)  # fmt: skip
@click.option(
    "--heap", type=click.IntRange(32768), help="Bytes of heap, instead of the board's own."
)
@click.option("--set", "values", multiple=True, metavar="NAME=INT", help="A world value.")
@click.option("--power-cut-at", type=click.IntRange(1), help="Cut at the N-th flash operation.")
@click.option(
    "--power-cut-mode",
    type=click.Choice(["lost", "torn", "after", "garbage"]),
    default="torn",
    show_default=True,
    help="How much of that operation happens.",
)
@click.option("--repl", is_flag=True, help="Print the address for `mpremote connect`.")
@click.option("--for", "seconds", type=click.FloatRange(0), help="Stop after this long (real s).")
@click.option("--quiet", is_flag=True, help="No live log.")
@_bench
@click.pass_context
def run(ctx: click.Context, /, names: tuple[str, ...], folder: Path, **options: Any) -> None:
    """Run boards until Ctrl-C, --for or the scenario's end, then report.

    The report of a battery board ends with an exact account of its readings: taken = delivered +
    dropped + queued + lost.

    NAMES are boards of the workbench, or factory images (<board>.img), which are copied there
    first. The log goes to stderr, the report to stdout.
    """
    from outpost.sim.report import report, summary

    taken: dict[str, Taken] = {}
    boards = _prepare(names, folder, options, taken)
    try:
        for name, board in boards.items():
            _start(name, board, options)
        _wait(boards, options["seconds"])
    except KeyboardInterrupt:
        output.note("stopping")
    finally:
        for board in boards.values():
            board.stop()
    found = {}
    for name, board in boards.items():
        found[name] = report(board) | _accounts(board, taken[name], options["fleet"])
    output.result(ctx, found, lambda: "\n".join(f"{n}: {summary(r)}" for n, r in found.items()))


def _accounts(board: SimBoard, taken: Taken, fleet: Path | None) -> dict[str, Any]:
    """Where the readings of a battery board went; nothing for one that takes none by itself."""
    from outpost.sim.accounts import device_id, settle

    if not taken.rows:
        return {}
    flow = _arrived(fleet, device_id(board)) if fleet else None
    found = settle(board, taken, flow.received if flow else None).as_dict()
    return {"readings": found | ({"duplicated": flow.duplicates} if flow else {})}


def _arrived(fleet: Path, device: str) -> Flow:
    """What the registry has, once it has taken in what the broker has acknowledged."""
    from outpost.fleet.registry import Registry

    telemetry = Registry.open(fleet / "registry.db").telemetry
    flow, since = telemetry.flow(device), time.monotonic()
    while time.monotonic() - since < _INGEST_S:
        time.sleep(0.1)
        last, flow = flow, telemetry.flow(device)
        if flow != last:
            since = time.monotonic()
    return flow


def _prepare(
    names: tuple[str, ...], folder: Path, options: dict[str, Any], taken: dict[str, Taken]
) -> dict[str, SimBoard]:
    from outpost.sim import SimBoard, load_scenario, workbench
    from outpost.sim.accounts import Taken

    scenario = load_scenario(options["scenario"]) if options["scenario"] else None
    wiring = _wiring(options["product"])
    values = [_world_value(text) for text in options["values"]]
    boards = {}
    for name in names:
        placed = workbench.find_or_create(folder, name)
        taken[placed.name] = Taken()
        boards[placed.name] = board = SimBoard(
            placed.board,
            placed.flash(folder),
            uid=placed.uid or None,
            wiring=wiring,
            scenario=scenario,
            time=options["pace"],
            on_line=taken[placed.name].line,
            heap=options["heap"],
            on_event=None if options["quiet"] else _logger(placed.name, len(names) > 1),
        )
        board.world.update(values)
    return boards


def _wiring(product: Path | None) -> Wiring:
    from outpost.sim import Wiring

    return Wiring().with_product(product) if product else Wiring()


def _world_value(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    try:
        return name, int(value)
    except ValueError:
        message = f"--set {text!r}: the value is not an integer"
        output.fail(ExitCode.USAGE, "sim-set", message, "--set air.temperature_mc=21500")


def _start(name: str, board: SimBoard, options: dict[str, Any]) -> None:
    if options["power_cut_at"]:
        board.cut_power(options["power_cut_at"], options["power_cut_mode"])
    board.start()
    if options["repl"]:
        output.note(f"{name}: mpremote connect {board.repl()}")


def _wait(boards: dict[str, SimBoard], seconds: float | None) -> None:
    """Until the time is up, or every board's scenario is over or its supply off for good."""
    deadline = time.monotonic() + seconds if seconds else None
    ended: set[str] = set()
    while len(ended) < len(boards) and (deadline is None or time.monotonic() < deadline):
        time.sleep(0.1)
        ended = {name for name, board in boards.items() if board.ended}


def _logger(name: str, several: bool) -> Any:
    start_ms: list[int] = []
    label = f"{name:<16} " if several else ""

    def log(event: Event) -> None:
        if not start_ms:
            start_ms.append(event.world_ms)
        clock = f"{(event.world_ms - start_ms[0]) / 1000:>11.3f}"
        if event.name == "line":
            output.note(f"{label}{clock}  {event.detail}")
        elif event.name not in ("main", "repl"):
            text = f"[{event.name} {event.detail}]".replace(" ]", "]")
            output.note(f"{label}{clock}  {output.style(text, fg='cyan')}")

    return log
