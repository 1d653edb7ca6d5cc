"""The generated parts of docs/reference/cli.md: verbs with their help, and the exit codes.

`make docs` writes them, and the other pages that come out of the code; a test compares.  What
stands between a pair of markers is generated, the rest of the page is written by hand.  This is
not a verb, so `outpost --help` does not list it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from outpost.build import reference as product
from outpost.cli.main import VERBS, available_verbs, cli
from outpost.errors import EXIT_CODE_MEANINGS
from outpost.paths import project_root
from outpost.signing import reasons

PAGE = Path("docs/reference/cli.md")
WIDTH = 90


def _help_of(command: click.Command, path: str) -> str:
    ctx = click.Context(
        command,
        info_name=path,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    )
    return command.get_help(ctx).replace("\b", "")


def _sections(command: click.Command, path: str, depth: int) -> Iterator[str]:
    yield f"{'#' * depth} `{path}`\n"
    yield f"```text\n{_help_of(command, path)}\n```\n"
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from _sections(command.commands[name], f"{path} {name}", min(depth + 1, 4))


def verbs_text() -> str:
    """A table of the verbs, then the help of each."""
    verbs = available_verbs()
    lines = ["| verb | what it does |", "|---|---|"]
    lines += [f"| [`{verb}`](#outpost-{verb}) | {VERBS[verb]} |" for verb in verbs]
    parts = ["\n".join(lines) + "\n"]
    with click.Context(cli, info_name="outpost") as ctx:
        for verb in verbs:
            command = cli.get_command(ctx, verb)
            assert command is not None
            parts += _sections(command, f"outpost {verb}", 3)
    return "\n".join(parts)


def exit_codes_text() -> str:
    """The table of exit codes."""
    rows = [f"| {int(code)} | {meaning} |" for code, meaning in EXIT_CODE_MEANINGS.items()]
    return "\n".join(["| code | meaning |", "|---|---|", *rows]) + "\n"


def fill(page: str) -> str:
    """The page with every generated part made anew."""
    for name, text in (("verbs", verbs_text()), ("exit codes", exit_codes_text())):
        begin, end = f"<!-- {name}: generated -->", f"<!-- /{name} -->"
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ValueError(f"{PAGE} needs the markers {begin} and {end} once each")
        pattern = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.S)
        page = pattern.sub(lambda _, t=text, b=begin, e=end: f"{b}\n{t}{e}", page)  # type: ignore[misc]
    return page


# What is written into each page, given the page as it is.
PAGES: dict[str, Callable[[str], str]] = {
    str(PAGE): fill,
    str(reasons.PAGE): reasons.fill,
    product.PAGE: lambda _: product.page(),
}


def main() -> int:
    """Write the pages."""
    for name, made in PAGES.items():
        file = project_root() / name
        file.write_text(made(file.read_text()))
        click.echo(f"{name}: written", err=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
