"""outpost provision: one board gets its identity."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from outpost.cli import output

if TYPE_CHECKING:
    from outpost.factory import StationConfig
    from outpost.factory.station import ProvisionResult

_FOLDER = click.Path(file_okay=False, path_type=Path)


def station_options(function: Any) -> Any:
    """The options of every verb that works as a station."""
    for option in (
        click.option(
            "--build", "build_dir", type=_FOLDER, required=True, help="Folder of the signed build."
        ),
        click.option(
            "--ca",
            "ca_dir",
            type=_FOLDER,
            required=True,
            help="Folder of the fleet, or of a CA alone.",
        ),
        click.option(
            "--site",
            type=click.Path(dir_okay=False, path_type=Path),
            required=True,
            help="TOML file: broker, update, ntp, wifi, country and more; passwords live here.",
        ),
        click.option(
            "--folder",
            type=_FOLDER,
            default=Path("station"),
            show_default=True,
            help="The station's own folder: journal and audit log.",
        ),
        click.option(
            "--operator", default="", envvar="OUTPOST_OPERATOR", help="Who, for the log."
        ),
        click.option(
            "--station",
            "station",
            default="",
            envvar="OUTPOST_STATION",
            help="Where, for the log.",
        ),
        click.option(
            "--serials",
            default="1-999999",
            show_default=True,
            help="Block of serial numbers; stations of one fleet need blocks of their own.",
        ),
        click.option("--no-scan", is_flag=True, help="Do not require the sensors to answer."),
    ):
        function = option(function)
    return function


def station_config(options: dict[str, Any]) -> StationConfig:
    """The options of `station_options` as a StationConfig."""
    from outpost.factory import StationConfig, load_settings

    return StationConfig(
        folder=options["folder"],
        build_dir=options["build_dir"],
        ca_dir=options["ca_dir"],
        settings=load_settings(options["site"]),
        operator=options["operator"],
        station=options["station"],
        serials=_block(options["serials"]),
        scan=not options["no_scan"],
    )


def _block(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not (first.isdigit() and last.isdigit() and 0 < int(first) <= int(last) <= 999_999):
        output.fail(
            2, "usage", f"{text!r} is no block of serial numbers", "e.g. --serials 1000-1999"
        )
    return int(first), int(last)


def summary(done: ProvisionResult) -> dict[str, Any]:
    """What is printed of a provisioned unit."""
    return {
        "device": done.device_id,
        "uid": done.uid,
        "product": done.product,
        "board": done.board,
        "spki_sha256": done.spki_sha256,
        "resumed": done.resumed,
        "already": done.already,
        "steps_ms": done.steps_ms,
        "seconds": round(done.seconds, 2),
        "self_test": done.self_test,
    }


def tested(report: dict[str, Any]) -> str:
    """The self-test in one line, for the person at the bench."""
    found = report.get("firmware")
    if not found:
        return "self-test: passed before"
    networks = "no radio" if found["radio"] is None else f"{found['radio']} networks heard"
    sensors = [f"{name}: {why or 'ok'}" for name, why in found["sensors"].items()]
    free_kib = found["flash_free"] // 1024
    words = (
        f"heap {found['heap']} bytes, {found['blk']} in one piece",
        f"flash written and read, {free_kib} KiB free",
        networks,
        *sensors,
    )
    return "self-test: " + "; ".join(words)


@click.command()
@click.option("--port", help="Serial port, socket://HOST:PORT, id:SERIAL, loc:LOCATION or auto.")
@click.option("--sim", "board", help="Instead of a port: a simulated board of this kind.")
@click.option(
    "--flash",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The simulated board's flash; made of the factory image when it is not there.",
)
@click.option(
    "--again",
    default="",
    metavar="REASON",
    help="Give a board that is finished a new key and certificate, for this reason.",
)
@station_options
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Give one board its identity: key made on the board, certificate, settings, self-test.

    Interrupted anywhere, the same command resumes. A finished board is left alone (exit code 7).
    """
    from outpost import factory

    config = station_config(options)
    with _port(options) as port:
        done = factory.provision(port, config, _say, options["again"])
    body = summary(done)
    output.note("  " + tested(done.self_test))
    word = "was provisioned before" if done.already else f"provisioned in {done.seconds:.1f} s"
    output.result(ctx, body, f"{done.device_id} {word}", 7 if done.already else 0)


def _say(unit: Any, state: str) -> None:
    output.note(f"  {unit.device_id}  {state.lower()}")


@contextmanager
def _port(options: dict[str, Any]) -> Iterator[str]:
    if bool(options["port"]) == bool(options["board"]):
        output.fail(2, "usage", "name either --port or --sim", "outpost provision --help")
    if options["port"]:
        yield resolve(options["port"], options["build_dir"])
        return
    import shutil

    from outpost.sim import SimBoard

    image = options["build_dir"] / "factory" / f"{options['board']}.img"
    flash: Path = options["flash"] or options["folder"] / f"{options['board']}.flash"
    if not flash.exists():
        flash.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, flash)
    with SimBoard(options["board"], flash) as board:
        yield board.repl()


def resolve(port: str, build_dir: Path) -> str:
    """A port as a device name; for auto, any board of the build may be connected."""
    from outpost.boards import load_board
    from outpost.build.release import read_build
    from outpost.errors import OutpostError
    from outpost.factory import ports

    found: list[str] = []
    first: OutpostError | None = None
    for name in read_build(build_dir)["boards"]:
        try:
            found.append(ports.choose(port, load_board(name)))
        except OutpostError as error:
            first = first or error
    if first is not None and not found:
        raise first
    if len(set(found)) > 1:
        shown = ", ".join(sorted(set(found)))
        output.fail(3, "port-ambiguous", f"several boards: {shown}", "name one with --port")
    return found[0]
