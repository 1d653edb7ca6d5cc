"""`outpost demo`: the whole product once through, on simulated boards."""

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from outpost.cli import output

if TYPE_CHECKING:
    from collections.abc import Callable

    from outpost.demo.narrator import Line
    from outpost.demo.story import Story


@click.command(name="demo")
@click.option("--oneshot", is_flag=True, help="Play the story, check it, switch off and exit.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Work here instead of in a new folder."
)
@click.option("--keep", is_flag=True, help="Leave the folder (keys, images, registry) behind.")
@click.option(
    "--serve-s", type=float, default=0.0, help="Stay up this long, then end (0: Ctrl-C)."
)
@click.pass_context
def command(
    ctx: click.Context, oneshot: bool, folder: Path | None, keep: bool, serve_s: float
) -> None:
    """Play the whole story: keys, build, factory, telemetry, updates, a crash, a power cut.

    Three simulated boards run the real firmware on the real MicroPython VM; nothing needs a board,
    a browser or the internet. Without --oneshot the fleet then stays up, to be looked at.
    """
    from outpost.demo.story import Story

    place = Path(folder or tempfile.mkdtemp(prefix="outpost-demo-"))
    place.mkdir(parents=True, exist_ok=True)
    story = Story(place.resolve(), _teller())
    try:
        story.play()
        summary = {
            "steps": story.n.steps,
            "checks": story.n.checks,
            "seconds": round(story.n.elapsed_s, 1),
        }
        if not oneshot:
            _stay(story, serve_s)
    finally:
        story.close()
        if keep:
            output.note(f"left behind: {place}")
        elif folder is None:
            shutil.rmtree(place, ignore_errors=True)
    line = f"demo: ok ({summary['steps']} steps, {summary['seconds']:.0f} s)"
    output.result(ctx, summary, line)


def _stay(story: "Story", serve_s: float) -> None:
    output.note(f"the fleet is at {story.server.url}  (Ctrl-C ends the demo)")
    end = time.monotonic() + serve_s if serve_s else None
    try:
        while end is None or time.monotonic() < end:
            time.sleep(0.2)
    except KeyboardInterrupt:
        output.note("switching off")


def _teller() -> "Callable[[Line], None]":
    """How a line looks: coloured on a terminal, plain with the same words elsewhere."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    styles = {"step": "bold", "check": "green", "say": "default", "board": "dim"}
    marks = {"step": "", "check": "  ok  ", "say": "      ", "board": "    | "}

    def tell(line: "Line") -> None:
        who = f"{line.who}: " if line.who else ""
        text = f"{line.at_s:7.1f} s  {marks[line.kind]}{who}{line.text}"
        console.print(f"[{styles[line.kind]}]{escape(text)}[/]")

    return tell
