"""`outpost sign`: adds a person's signature to a release, a root, a head or a command."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from outpost.cli import output
from outpost.cli.signers import key_option, open_keys, passphrase_option, read_file
from outpost.errors import ExitCode

_FILE = click.Path(exists=True, path_type=Path)
_OUT = click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the document."
)
_NEW = click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the document.",
)
DAY_S = 86400


@click.group()
def command() -> None:
    """Sign a release, a head or a root.

    Several people sign one file in turn, each on their own machine: the file that comes back has
    one more signature.
    """


@command.command()
@click.argument("path", type=_FILE)
@key_option
@_OUT
@passphrase_option
@click.pass_context
def release(
    ctx: click.Context,
    path: Path,
    keys: tuple[str, ...],
    out: Path | None,
    passphrase_file: Path | None,
) -> None:
    """Sign a build folder, a release.cbor, or a release.cose that others have signed."""
    source, target = _release_files(path)
    _sign(ctx, ("release", source, out or target), keys, passphrase_file)


def _release_files(path: Path) -> tuple[Path, Path]:
    if path.is_dir():
        signed, payload = path / "release.cose", path / "release.cbor"
        if not payload.exists():
            output.fail(
                ExitCode.USAGE, "not-built", f"{path} holds no release.cbor", "run `outpost build`"
            )
        return (signed if _goes_on(signed, payload) else payload), signed
    return path, path.with_suffix(".cose")


def _goes_on(signed: Path, payload: Path) -> bool:
    """Whether the signed file is of this payload: a rebuilt release starts with no signatures."""
    if not signed.exists():
        return False
    from loader import trust
    from loader.cbor import VerifyError

    try:
        return bytes(trust.unwrap("release", signed.read_bytes())[0]) == payload.read_bytes()
    except VerifyError:
        return False


@command.command()
@click.argument("path", type=_FILE)
@key_option
@_OUT
@passphrase_option
@click.pass_context
def root(
    ctx: click.Context,
    path: Path,
    keys: tuple[str, ...],
    out: Path | None,
    passphrase_file: Path | None,
) -> None:
    """Sign a proposed trust root: a folder of `outpost keys`, or the file itself."""
    source, target = _root_files(path)
    _sign(ctx, ("root", source, out or target), keys, passphrase_file)


def _root_files(path: Path) -> tuple[Path, Path]:
    if not path.is_dir():
        return path, path.with_suffix(".cose")
    from outpost.signing import Ceremony

    ceremony = Ceremony(path)
    target = ceremony.root_path(ceremony.version() + 1)
    proposal = target.with_suffix(".cbor")
    if not target.exists() and not proposal.exists():
        fix = "propose one with `outpost keys rotate` or `revoke`"
        output.fail(
            ExitCode.ALREADY_DONE, "no-proposal", "no trust root waits for a signature", fix
        )
    return (target if target.exists() else proposal), target


@command.command()
@click.option("--name", required=True, help="Channel or device id the head is for.")
@click.option("--release", "release_file", required=True, type=_FILE, help="The release.cose.")
@click.option("--sequence", required=True, type=click.IntRange(0), help="Higher than the last.")
@click.option("--days", default=14, show_default=True, help="Until it counts as frozen.")
@click.option("--root-version", required=True, type=click.IntRange(1), help="Trust root in force.")
@key_option
@_NEW
@passphrase_option
@click.pass_context
def head(ctx: click.Context, /, **given: Any) -> None:
    """Make and sign a head: which release a channel or a device is to run."""
    from outpost.signing import documents

    digest = _digest_of(given["release_file"])
    issued = int(time.time())
    period = (issued, issued + given["days"] * DAY_S)
    payload = documents.head(
        given["name"], digest, given["sequence"], period, given["root_version"]
    )
    _sign_payload(ctx, ("head", payload, given["out"]), given["keys"], given["passphrase_file"])


def _digest_of(path: Path) -> bytes:
    from loader import trust
    from loader.cbor import VerifyError

    from outpost.signing import documents

    try:
        payload, _ = trust.unwrap("release", read_file(path))
    except VerifyError as error:
        message = f"{path} is not a signed release: {error.code}"
        output.fail(ExitCode.VERIFICATION_FAILED, error.code, message)
    return documents.digest(bytes(payload))


@command.command()
@click.option("--device", required=True, help="Id of the one device.")
@click.option("--id", "command_id", required=True, help="Id of the command; it runs once.")
@click.option(
    "--command",
    "verb",
    required=True,
    type=click.Choice(["wipe", "decommission"]),
    help="What the device is to do.",
)
@click.option("--hours", default=24, show_default=True, help="Until it expires.")
@key_option
@_NEW
@passphrase_option
@click.pass_context
def ops(ctx: click.Context, /, **given: Any) -> None:
    """Make and sign a command that a device runs on the word of an ops key only."""
    from outpost.signing import documents

    expires = int(time.time()) + given["hours"] * 3600
    payload = documents.ops(given["device"], given["command_id"], given["verb"], expires)
    _sign_payload(ctx, ("ops", payload, given["out"]), given["keys"], given["passphrase_file"])


def _sign(
    ctx: click.Context,
    job: tuple[str, Path, Path],
    keys: tuple[str, ...],
    passphrase_file: Path | None,
) -> None:
    role, source, target = job
    _sign_payload(ctx, (role, read_file(source), target), keys, passphrase_file)


def _sign_payload(
    ctx: click.Context,
    job: tuple[str, bytes, Path],
    keys: tuple[str, ...],
    passphrase_file: Path | None,
) -> None:
    from outpost.signing import cose

    role, data, target = job
    found = cose.role_of(data)
    if found not in (None, role):
        message = f"this is a {found} document, not a {role}"
        output.fail(ExitCode.USAGE, "cose-type", message, f"outpost sign {found}")
    document = cose.sign(role, data, *open_keys(keys, passphrase_file))
    changed = document != data or not target.exists()
    if changed:
        cose.replace(target, document)
    kids = [kid.hex() for kid, _ in cose.signatures_of(role, document)[1]]
    body = {"role": role, "file": str(target), "signers": kids, "bytes": len(document)}
    text = f"{target}: {role}, signed by {', '.join(kids)}"
    output.result(ctx, body, text, ExitCode.OK if changed else ExitCode.ALREADY_DONE)
