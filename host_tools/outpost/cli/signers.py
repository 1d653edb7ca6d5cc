"""Signing keys for the command line: where keys and passphrases come from.

A passphrase comes from a file, from OUTPOST_PASSPHRASE or from a prompt on a terminal; never from
an argument.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from outpost.cli import output
from outpost.errors import ExitCode

if TYPE_CHECKING:
    from outpost.signing.keys import Signer

PASSPHRASE_ENV = "OUTPOST_PASSPHRASE"
PKCS11 = "pkcs11:"

passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"File whose first line is the passphrase; else {PASSPHRASE_ENV}, else a prompt.",
)
key_option = click.option(
    "--key",
    "keys",
    required=True,
    multiple=True,
    metavar="FILE|pkcs11:LABEL",
    help="Private key, or a key of a PKCS#11 token; repeatable.",
)


def given_passphrase(file: Path | None) -> bytes | None:
    """The passphrase from the file or the environment, if there is one."""
    if file is not None:
        text = file.read_text().splitlines()
        return text[0].encode() if text and text[0] else None
    from_env = os.environ.get(PASSPHRASE_ENV)
    return from_env.encode() if from_env else None


def new_passphrase(file: Path | None, plain: bool) -> bytes | None:
    """The passphrase for new keys; None only when `plain` was asked for."""
    if plain:
        return None
    found = given_passphrase(file)
    if found is None and sys.stdin.isatty():
        text = click.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True)
        found = str(text).encode()
    if not found:
        fix = f"--passphrase-file FILE, {PASSPHRASE_ENV}, or --plain for keys that protect nothing"
        output.fail(ExitCode.USAGE, "passphrase", "new keys need a passphrase", fix)
    return found


def open_keys(names: Iterable[str], file: Path | None) -> list[Signer]:
    """The keys in these files or tokens; asks once for a passphrase if one is needed."""
    ask = _asker(file)
    return [_open(name, ask) for name in names]


def _asker(file: Path | None) -> Callable[[str], bytes | None]:
    known: list[bytes | None] = [given_passphrase(file)]

    def ask(name: str) -> bytes | None:
        if known[0] is None and sys.stdin.isatty():
            text = click.prompt(f"Passphrase of {name}", hide_input=True, err=True)
            known[0] = str(text).encode()
        return known[0]

    return ask


def _open(name: str, ask: Callable[[str], bytes | None]) -> Signer:
    from outpost.signing.keys import SigningKey, is_encrypted

    if name.startswith(PKCS11):
        from outpost.signing.hsm import TokenKey

        return TokenKey.open(name.removeprefix(PKCS11))
    path = Path(name)
    return SigningKey.load(path, ask(name) if is_encrypted(path) else None)


def read_file(path: Path) -> bytes:
    """A file named on the command line."""
    try:
        return path.read_bytes()
    except OSError as error:
        output.fail(ExitCode.USAGE, "file", f"cannot read {path}: {error.strerror}")


def described(document: dict[str, Any]) -> str:
    """A payload for people: keys in order, bytes as hex."""
    rows = [[name, _shown(value)] for name, value in sorted(document.items())]
    return output.table(rows)


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{_shown(key)}: {_shown(item)}" for key, item in value.items())
    return str(value)
