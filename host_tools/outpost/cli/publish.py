"""`outpost publish`: puts signed documents and blobs where devices fetch them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from outpost.cli import output
from outpost.cli.signers import read_file
from outpost.errors import ExitCode

_FILE = click.Path(exists=True, path_type=Path)


@click.command()
@click.argument("path", type=_FILE, required=False)
@click.option(
    "--to",
    "target",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory that a static server or CDN serves.",
)
@click.option(
    "--fleet",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Also, or instead, the folder of a fleet, which makes its devices' heads itself.",
)
@click.option("--root", "root_path", required=True, type=_FILE, help="Folder of `outpost keys`.")
@click.option("--head", "heads", multiple=True, type=_FILE, help="A signed head; repeatable.")
@click.option(
    "--bundle",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also, or instead, one file for `outpost flash --bundle`.",
)
@click.option("--dry-run", is_flag=True, help="Verify, and print what would be published.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    path: Path | None,
    root_path: Path,
    heads: tuple[Path, ...],
    **options: Any,
) -> None:
    """Put a signed release where devices fetch it.

    PATH is a build folder with its release.cose. Trust roots are published first, heads last;
    everything is verified before anything is written. Exit code 7 when all of it is there.
    """
    target: Path | None = options["target"]
    bundle: Path | None = options["bundle"]
    fleet: Path | None = options["fleet"]
    where = target or bundle or fleet
    if where is None:
        fix = "give --to DIRECTORY, --bundle FILE or --fleet FOLDER"
        output.fail(ExitCode.USAGE, "no-target", "nowhere to publish to", fix)
    plan = _plan(path, root_path, heads)
    if target is None and path is None:
        output.fail(ExitCode.USAGE, "no-release", "there is no release to hand over", "give PATH")
    body: dict[str, Any] = {"target": str(where), "dry_run": options["dry_run"]}
    body.update(plan.summary())
    if options["dry_run"]:
        output.result(ctx, body, lambda: _text(body))
        return
    body["changed"] = plan.apply(target) if target is not None else False
    if bundle is not None:
        body["bundle"] = str(bundle)
        body["changed"] |= _write_bundle(plan, bundle)
    if fleet is not None and path is not None:
        body["changed"] |= _hand_over(path, fleet)
    code = ExitCode.OK if body["changed"] else ExitCode.ALREADY_DONE
    output.result(ctx, body, lambda: _text(body), code)


def _hand_over(path: Path, folder: Path) -> bool:
    """Whether the fleet did not have this release."""
    from outpost.fleet.fleet import Fleet

    with Fleet.open(folder) as fleet:
        known = {release.digest for release in fleet.registry.releases.all()}
        return fleet.publish(path).digest not in known


def _plan(path: Path | None, root_path: Path, heads: tuple[Path, ...]) -> Any:
    from outpost.signing import Ceremony
    from outpost.signing.repository import Plan

    ceremony = Ceremony(root_path)
    roots = [ceremony.root(version) for version in range(1, ceremony.version() + 1)]
    release = (read_file(path / "release.cose"), path / "files") if path else None
    return Plan.verified(roots, release, [read_file(head) for head in heads])


def _write_bundle(plan: Any, path: Path) -> bool:
    """Whether the file is another one now."""
    from outpost.factory import bundle

    before = path.read_bytes() if path.exists() else None
    document, files = plan.release
    bundle.write(path, document, files, plan.roots)
    return path.read_bytes() != before


def _text(body: dict[str, Any]) -> str:
    done = "would publish" if body["dry_run"] else "published"
    if body.get("changed") is False:
        done = "already published"
    lines = [f"{done} to {body['target']}"]
    lines.append(f"  roots    {body['roots']}")
    if body["release"]:
        lines.append(f"  release  {body['release']} ({body['files']} files)")
    lines += [f"  head     {name}" for name in body["heads"]]
    return "\n".join(lines)
