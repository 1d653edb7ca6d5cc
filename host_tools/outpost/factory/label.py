"""Device labels: a QR code with the serial number under it, as SVG.

Owns the payload's form: `HTTPS://HOST/D/<ID>` in capitals without `?` or `=`, which QR codes in
their alphanumeric mode: a third fewer modules than bytes. The serial's check character finds a
mistyped one.
"""

import io
import re
from xml.sax.saxutils import escape

from outpost.errors import ExitCode, OutpostError
from outpost.factory import serials

_ALPHANUMERIC = re.compile(r"[0-9A-Z $%*+\-./:]+")


def payload(device_id: str, host: str) -> str:
    """What a scanner reads."""
    text = f"HTTPS://{host}/D/{serials.check(device_id)}".upper()
    if not _ALPHANUMERIC.fullmatch(text):
        message = f"{host!r} does not fit a label"
        raise OutpostError(
            "label-host", message, "use a host name, without ? or =", ExitCode.USAGE
        )
    return text


def svg(device_id: str, host: str, lines: tuple[str, ...] = ()) -> str:
    """The label, 40 mm wide: QR code, serial number, and `lines` of small print under it."""
    import segno

    code = segno.make(payload(device_id, host), error="m", mode="alphanumeric", micro=False)
    side = code.symbol_size(border=4)[0]
    inner = io.BytesIO()
    code.save(inner, kind="svg", border=4, xmldecl=False, svgns=False, nl=False, omitsize=True)
    rows = [(device_id.upper(), 2.6)] + [(line, 1.9) for line in lines]
    texts = "".join(
        f'<text x="{side / 2:g}" y="{side + 1.5 + 3 * number:g}" font-size="{size}" '
        f'text-anchor="middle" font-family="monospace">{escape(text)}</text>'
        for number, (text, size) in enumerate(rows)
    )
    height = side + 3 * len(rows)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="40mm" '
        f'height="{40 * height / side:.1f}mm" viewBox="0 0 {side} {height:g}">'
        f'<rect width="100%" height="100%" fill="#fff"/>'
        f'<svg width="{side}" height="{side}" viewBox="0 0 {side} {side}">'
        f"{_body(inner.getvalue().decode())}</svg>{texts}</svg>\n"
    )


def _body(document: str) -> str:
    """What is inside an <svg> element."""
    return document[document.index(">") + 1 : document.rindex("</svg>")]


def read_scan(scanned: str) -> str:
    """The device id in what a scanner read from a label."""
    return serials.check(scanned.strip().rpartition("/")[2])
