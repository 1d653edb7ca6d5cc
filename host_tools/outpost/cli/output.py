"""What every verb prints through: results on stdout, everything else on stderr.

With `--json` stdout carries exactly one object, on success and on failure alike:
`{"schema_version": 1, "ok": true, "result": …}` or `{"schema_version": 1, "ok": false, "error":
…}`. Colour follows NO_COLOR and the terminal (click does both).  Verbs import this module freely:
it costs click only.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn

import click

from outpost.errors import ExitCode, OutpostError

SCHEMA_VERSION = 1
_JSON_KEY = "outpost.json"
_SUCCESS = (ExitCode.OK, ExitCode.ALREADY_DONE)


def want_json(ctx: click.Context) -> bool:
    """Whether `--json` was given, on the group or on the verb."""
    return bool(ctx.meta.get(_JSON_KEY) or ctx.params.get("json") or ctx.params.get("as_json"))


def _remember_json(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[_JSON_KEY] = True


def json_option() -> click.Option:
    """The `--json` flag, put on the group and on every command as it is loaded."""
    return click.Option(
        ["--json", "_json"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_remember_json,
        help="Print one JSON object instead of text.",
    )


def _encode(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


def _print_json(body: dict[str, Any]) -> None:
    envelope = {"schema_version": SCHEMA_VERSION, **body}
    click.echo(json.dumps(envelope, default=_encode, ensure_ascii=False))


def result(
    ctx: click.Context,
    obj: Any,
    text: str | Callable[[], str] = "",
    exit_code: int = ExitCode.OK,
) -> None:
    """Print the one result of a verb (bytes become hex); a non-zero `exit_code` also ends it
    there."""
    if want_json(ctx):
        _print_json({"ok": exit_code in _SUCCESS, "result": obj})
    else:
        shown = text() if callable(text) else text
        if shown:
            click.echo(shown)
    if exit_code != ExitCode.OK:
        ctx.exit(int(exit_code))


def fail(exit_code: int, code: str, message: str, fix: str | None = None) -> NoReturn:
    """End the verb with an error; what is printed is decided in one place, `report`."""
    raise OutpostError(code, message, fix, exit_code)


def report(error: OutpostError, as_json: bool) -> None:
    """Print a failure: two lines on stderr, or the JSON object on stdout."""
    if as_json:
        _print_json({"ok": False, "error": error.as_dict()})
        return
    label = click.style("error", fg="red", bold=True)
    click.echo(f"{label} [{error.code}]: {error.message}", err=True)
    if error.fix:
        click.echo(f"  fix: {error.fix}", err=True)


def note(message: str) -> None:
    """One line of progress or advice on stderr."""
    click.echo(message, err=True)


def style(text: str, **attributes: Any) -> str:
    """Coloured text, plain when NO_COLOR is set (click itself drops colour off a terminal)."""
    return text if os.environ.get("NO_COLOR") else click.style(text, **attributes)


def table(rows: list[list[str]], head: list[str] | None = None) -> str:
    """Left-aligned columns, two spaces apart."""
    every = ([head] if head else []) + rows
    if not every:
        return ""
    widths = [max(len(click.unstyle(row[i])) for row in every) for i in range(len(every[0]))]
    return "\n".join(_row(row, widths) for row in every)


def _row(row: list[str], widths: list[int]) -> str:
    cells = [c + " " * (w - len(click.unstyle(c))) for c, w in zip(row, widths, strict=True)]
    return "  ".join(cells).rstrip()


class progress:  # noqa: N801 - reads as a statement: `with progress("flashing", total) as step:`
    """Progress on stderr: a line redrawn on a terminal, else at most one line per 5 s and one at
    the end."""

    PLAIN_INTERVAL_S = 5.0
    DRAW_INTERVAL_S = 0.1

    def __init__(self, label: str, total: int | None = None) -> None:
        self._label = label
        self._total = total
        self._done = 0
        self._drawn_at = 0.0
        self._live = False

    def __enter__(self) -> progress:
        self._live = sys.stderr.isatty()
        self._drawn_at = time.monotonic()
        return self

    def advance(self, amount: int = 1, detail: str = "") -> None:
        """Count `amount` more as done."""
        self._done += amount
        now = time.monotonic()
        interval_s = self.DRAW_INTERVAL_S if self._live else self.PLAIN_INTERVAL_S
        if now - self._drawn_at >= interval_s:
            self._drawn_at = now
            self._draw(detail)

    def _draw(self, detail: str) -> None:
        line = f"{self._label}: {self._fraction()} {detail}".rstrip()
        if self._live:
            click.echo(f"\r\x1b[K{line}", nl=False, err=True)
        else:
            click.echo(line, err=True)

    def _fraction(self) -> str:
        if not self._total:
            return str(self._done)
        return f"{self._done}/{self._total} ({100 * self._done // self._total} %)"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._draw("" if error is None else "stopped")
        if self._live:
            click.echo("", err=True)


def confirm(subject: str, question: str, yes: bool, confirmed: str | None) -> None:
    """Let an irreversible step pass only if its subject's id was typed, or `--yes --confirm ID`
    names it."""
    if yes and confirmed == subject:
        return
    if confirmed is not None and confirmed != subject:
        fail(ExitCode.USAGE, "confirm-mismatch", f"--confirm names {confirmed!r}, not {subject!r}")
    if not sys.stdin.isatty():
        fix = f"run it on a terminal, or add: --yes --confirm {subject}"
        fail(ExitCode.USAGE, "confirm-needed", f"{question} This cannot be undone.", fix)
    if click.prompt(f"{question} Type {subject} to go on", err=True, default="") != subject:
        fail(ExitCode.FAILED, "not-confirmed", "not confirmed; nothing was changed")
