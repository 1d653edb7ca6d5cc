"""`outpost doctor`: is everything here that Outpost needs, and if not, which command brings it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from outpost.cli import output
from outpost.errors import ExitCode

if TYPE_CHECKING:
    from outpost.diagnosis import Finding


@click.command()
@click.pass_context
def command(ctx: click.Context) -> None:
    """Check the tools Outpost needs.

    Exits 0 when all that is needed is there, 2 when something is missing; optional tools are only
    reported.
    """
    from dataclasses import asdict

    from outpost.diagnosis import examine
    from outpost.paths import project_root

    findings = examine(project_root())
    missing = [f.tool for f in findings if not f.ok and not f.optional]
    body = {"tools": [asdict(f) for f in findings], "missing": missing}
    if missing and output.want_json(ctx):
        output.result(ctx, body, exit_code=ExitCode.USAGE)
    output.result(ctx, body, lambda: _table(findings))
    if missing:
        output.fail(ExitCode.USAGE, "tools-missing", f"needed: {', '.join(missing)}", "make setup")


def _table(findings: list[Finding]) -> str:
    rows = []
    for f in findings:
        mark = output.style("ok", fg="green") if f.ok else "--"
        if not f.ok and not f.optional:
            mark = output.style("NO", fg="red", bold=True)
        note = f.remedy and f"{'optional; ' if f.optional else ''}{f.remedy}"
        rows.append([mark, f.tool, f.version or "absent", f.needed, note])
    return output.table(rows, ["", "tool", "version", "needed", "remedy"])
