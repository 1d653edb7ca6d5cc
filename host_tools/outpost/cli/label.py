"""outpost label: the sticker for a device."""

from __future__ import annotations

from pathlib import Path

import click

from outpost.cli import output


@click.command()
@click.argument("device")
@click.option("--host", required=True, help="Host name in the QR code's address.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="SVG file; <device>.svg when left out.",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("station"),
    show_default=True,
    help="The station's folder, whose log counts the prints.",
)
@click.option("--scan", metavar="TEXT", help="Check what a scanner read from the label instead.")
@click.pass_context
def command(
    ctx: click.Context, device: str, host: str, out: Path | None, folder: Path, scan: str | None
) -> None:
    """Write the label of DEVICE: a QR code with the serial number under it."""
    from outpost.factory import label, serials
    from outpost.factory.audit import AuditLog

    device_id = serials.check(device)
    log = AuditLog(folder / "audit.jsonl")
    if scan is not None:
        if label.read_scan(scan) != device_id:
            output.fail(
                5, "label-mismatch", f"the label is not that of {device_id}", "print it again"
            )
        log.append("label-scanned", device=device_id)
        output.result(ctx, {"device": device_id, "scan": "ok"}, f"{device_id}: the label fits")
        return
    target = out or Path(f"{device_id}.svg")
    unit_lines = _small_print(folder, device_id)
    target.write_text(label.svg(device_id, host, unit_lines))
    log.append("label", device=device_id, payload=label.payload(device_id, host))
    body = {"device": device_id, "file": str(target), "payload": label.payload(device_id, host)}
    output.result(ctx, body, f"wrote {target}")


def _small_print(folder: Path, device_id: str) -> tuple[str, ...]:
    """Board and the end of the hardware id, where the station knows the device."""
    from outpost.factory.journal import Journal

    if not (folder / "journal.db").exists():
        return ()
    journal = Journal(folder / "journal.db")
    unit = journal.by_device(device_id)
    journal.close()
    return (f"{unit.board} {unit.uid[-6:]}",) if unit else ()
