"""The `outpost` command: finds verbs by file name and loads one only when it is called.

`outpost --help` imports no verb (it lists the one-line summaries below), which is what keeps it
under 150 ms. A verb whose module is absent is not listed.  All failures of all verbs pass through
`Outpost.main`: it turns exceptions into the message, the `--json` object and the exit code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from outpost import __version__
from outpost.cli import output
from outpost.errors import ExitCode, OutpostError

VERBS: dict[str, str] = {
    "new": "Start a product from a template.",
    "build": "Compile a product into a release and factory images.",
    "keys": "Make and rotate signing keys and the trust root.",
    "sign": "Sign a release, a head or a root.",
    "verify": "Check a signed release as a device would.",
    "publish": "Put a signed release where devices fetch it.",
    "flash": "Write the runtime and a factory image to a board.",
    "provision": "Give a board its identity.",
    "wifi": "Tell a provisioned board its networks, over USB.",
    "station": "Run a factory provisioning station.",
    "sim": "Run simulated boards.",
    "power": "Predict battery life.",
    "fleet": "Serve and inspect the fleet.",
    "rollout": "Roll a release out in stages.",
    "device": "List, show and command devices.",
    "label": "Print device labels.",
    "audit": "Read and check the factory journal.",
    "doctor": "Check the tools Outpost needs.",
    "demo": "Play the whole story with simulated boards.",
    "model": "Train the small model that watches a device's rows.",
}

_HERE = Path(__file__).parent
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def available_verbs() -> list[str]:
    """The verbs whose module is there, in the order of a device's life."""
    return [v for v in VERBS if (_HERE / f"{v}.py").is_file() or (_HERE / v).is_dir()]


def _add_json_option(command: click.Command) -> None:
    names = {name for param in command.params for name in param.opts}
    if "--json" not in names and not isinstance(command, click.Group):
        command.params.append(output.json_option())
    if isinstance(command, click.Group):
        for child in command.commands.values():
            _add_json_option(child)


class Outpost(click.Group):
    """The group of verbs, loaded by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return available_verbs()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in available_verbs():
            return None
        command: click.Command = import_module(f"outpost.cli.{cmd_name}").command
        command.context_settings.setdefault("help_option_names", ["-h", "--help"])
        _add_json_option(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(verb, VERBS[verb]) for verb in self.list_commands(ctx)]
        if rows:
            with formatter.section("Verbs"):
                formatter.write_dl(rows)

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        if not standalone_mode:
            return super().main(given, prog_name or "outpost", standalone_mode=False, **extra)
        sys.exit(self._run(given, prog_name or "outpost", extra))

    def _run(self, args: list[str], prog_name: str, extra: dict[str, Any]) -> int:
        as_json = "--json" in args
        debug = "--debug" in args
        try:
            code = super().main(args, prog_name, standalone_mode=False, **extra)
            return code if isinstance(code, int) else 0
        except (KeyboardInterrupt, click.Abort, EOFError):
            error = OutpostError("interrupted", "interrupted", None, ExitCode.INTERRUPTED)
        except BrokenPipeError:
            # The reader of our output has gone; a flush at exit must not complain about it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return int(ExitCode.FAILED)
        except Exception as caught:
            if debug:
                _print_traceback()
            error = explain(caught)
        output.report(error, as_json)
        return error.exit_code


def _print_traceback() -> None:
    import traceback

    output.note(traceback.format_exc())


def explain(error: Exception) -> OutpostError:
    """What to tell the user about any exception."""
    if isinstance(error, OutpostError):
        return error
    if isinstance(error, click.ClickException):
        return _explain_usage(error)
    if isinstance(error, ModuleNotFoundError):
        name = error.name or str(error)
        message = f"the Python module {name!r} is missing"
        return OutpostError("not-installed", message, "make setup")
    if isinstance(error, OSError):
        return OutpostError("os-error", str(error), "run again with --debug to see where")
    message = f"internal error: {type(error).__name__}: {error}"
    return OutpostError("internal", message, "run again with --debug, and report the traceback")


def _explain_usage(error: click.ClickException) -> OutpostError:
    ctx = getattr(error, "ctx", None)
    fix = f"{ctx.command_path} --help" if ctx else None
    usage = isinstance(error, click.UsageError)
    return OutpostError(
        "usage" if usage else "failed",
        error.format_message(),
        fix,
        ExitCode.USAGE if usage else ExitCode.FAILED,
    )


@click.group(cls=Outpost, context_settings=_CONTEXT, params=[output.json_option()])
@click.version_option(__version__, prog_name="outpost")
@click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback on failure.")
def cli() -> None:
    """Everything between a sensor and a fleet view, for MicroPython on ESP32 and RP2040."""


def main() -> None:
    """The console script."""
    cli.main()


if __name__ == "__main__":
    main()
