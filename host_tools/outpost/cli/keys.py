"""`outpost keys`: signing keys and the trust root they make up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from outpost.cli import output
from outpost.cli.signers import new_passphrase, passphrase_option
from outpost.errors import ExitCode

_FOLDER = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
_PLAIN = click.option(
    "--plain", is_flag=True, help="Leave private keys unencrypted (tests, demos)."
)
_DRY = click.option("--dry-run", is_flag=True, help="Print what would be proposed.")


@click.group()
def command() -> None:
    """Make and rotate signing keys and the trust root."""


@command.command()
@_FOLDER
@click.option("--threshold", default=2, show_default=True, help="Root keys that must sign a root.")
@click.option("--root-keys", default=3, show_default=True, help="Root keys to make.")
@_PLAIN
@passphrase_option
@click.pass_context
def create(
    ctx: click.Context,
    folder: Path,
    threshold: int,
    root_keys: int,
    plain: bool,
    passphrase_file: Path | None,
) -> None:
    """Make all keys and trust root 1 in FOLDER."""
    if not 1 <= threshold <= root_keys <= 8:
        output.fail(ExitCode.USAGE, "threshold", "a threshold of 1 to all of at most 8 root keys")
    from outpost.signing import Ceremony

    secret = new_passphrase(passphrase_file, plain)
    output.note(f"making {root_keys + 3} RSA-3072 keys")
    ceremony = Ceremony.create(folder, threshold, root_keys, secret, plain)
    _show(ctx, ceremony)


@command.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@_PLAIN
@passphrase_option
@click.pass_context
def new(ctx: click.Context, path: Path, plain: bool, passphrase_file: Path | None) -> None:
    """Make one key in PATH (.pem) and its public half beside it (.pub.json)."""
    from outpost.signing.keys import SigningKey, public_path

    key = SigningKey.generate()
    key.save(path, new_passphrase(passphrase_file, plain), plain)
    public = public_path(path)
    body = {"kid": key.kid, "private": str(path), "public": str(public)}
    output.result(ctx, body, f"{key.kid.hex()}  {path}\n{' ' * 16}  {public}")


@command.command()
@_FOLDER
@click.pass_context
def show(ctx: click.Context, folder: Path) -> None:
    """Show the trust root in force: roles, thresholds, keys."""
    from outpost.signing import Ceremony

    _show(ctx, Ceremony(folder))


@command.command()
@_FOLDER
@click.option(
    "--role",
    required=True,
    type=click.Choice(["root", "release", "head", "ops"]),
    help="What the keys may sign.",
)
@click.option(
    "--public",
    "publics",
    required=True,
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Public half (.pub.json) of a key the role is to have; repeatable, name all of them.",
)
@click.option("--threshold", type=click.IntRange(1, 8), help="Keys that must sign [as it was].")
@click.option("--new-era", is_flag=True, help="A key was stolen: void what it signed.")
@_DRY
@click.pass_context
def rotate(ctx: click.Context, /, folder: Path, dry_run: bool, **given: Any) -> None:
    """Propose the next trust root with other keys for a role."""
    from outpost.signing import Ceremony
    from outpost.signing.keys import PublicKey

    ceremony = Ceremony(folder)
    keys = [PublicKey.load(path) for path in given["publics"]]
    roles = ceremony.rotated(given["role"], keys, given["threshold"], given["new_era"])
    _propose(ctx, ceremony, roles, dry_run)


@command.command()
@_FOLDER
@click.argument("kid")
@click.option("--keep-era", is_flag=True, help="The key was lost, not stolen.")
@_DRY
@click.pass_context
def revoke(ctx: click.Context, folder: Path, kid: str, keep_era: bool, dry_run: bool) -> None:
    """Propose the next trust root without the key KID (hex, as `show` prints it)."""
    from outpost.signing import Ceremony

    try:
        raw = bytes.fromhex(kid)
    except ValueError:
        output.fail(ExitCode.USAGE, "kid", f"{kid!r} is not a key id", "see `outpost keys show`")
    ceremony = Ceremony(folder)
    _propose(ctx, ceremony, ceremony.revoked(raw, not keep_era), dry_run)


def _propose(ctx: click.Context, ceremony: Any, roles: dict[str, Any], dry_run: bool) -> None:
    version = ceremony.version() + 1
    body = {"version": version, "roles": _roles(roles), "dry_run": dry_run}
    text = _table(roles)
    if not dry_run:
        ceremony.propose_next(roles)
        path = ceremony.root_path(version)
        body["proposal"] = str(path.with_suffix(".cbor"))
        text += f"\nproposed root {version}; next: outpost sign root {ceremony.folder} --key ..."
    output.result(ctx, body, text)


def _roles(roles: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {
            "threshold": role.threshold,
            "era": role.era,
            "keys": [key.kid.hex() for key in role.keys],
        }
        for name, role in roles.items()
    }


def _table(roles: dict[str, Any]) -> str:
    rows = [
        [name, f"{role.threshold} of {len(role.keys)}", str(role.era), key.kid.hex()]
        for name, role in roles.items()
        for key in role.keys
    ]
    return output.table(rows, ["role", "threshold", "era", "key"])


def _show(ctx: click.Context, ceremony: Any) -> None:
    version = ceremony.version()
    roles = ceremony.roles()
    pending = ceremony.root_path(version + 1)
    waiting = pending.exists() or pending.with_suffix(".cbor").exists()
    body = {
        "folder": str(ceremony.folder),
        "version": version,
        "root": str(ceremony.root_path(version)),
        "roles": _roles(roles),
        "pending": version + 1 if waiting else None,
    }
    text = f"trust root {version} ({ceremony.root_path(version)})\n{_table(roles)}"
    if waiting:
        text += f"\nroot {version + 1} is waiting for signatures"
    output.result(ctx, body, text)
