"""Draws the shapes of `outpost.power.figure`: as SVG by hand, as PNG with Pillow.

The suffix of a file's name says which (`FORMATS`). Both come from the same shapes, so they cannot
say different things.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from html import escape
from typing import TYPE_CHECKING

from outpost.power.figure import HEIGHT, WIDTH, Line, Point, Shape, Text, shapes
from outpost.power.predict import Prediction

if TYPE_CHECKING:
    from PIL import ImageDraw

_PNG_SCALE = 2  # pixels per unit: sharp on a screen of today
_DASH = (5.0, 4.0)


def svg(found: Prediction, title: str) -> bytes:
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *map(_as_svg, shapes(found, title)),
        "</svg>",
    ]
    return ("\n".join(body) + "\n").encode()


def _as_svg(shape: Shape) -> str:
    if isinstance(shape, Text):
        x, y = shape.at
        more = f' font-size="{shape.size}" text-anchor="{shape.anchor}"'
        return f'<text x="{x}" y="{y}"{more}>{escape(shape.text)}</text>'
    if isinstance(shape, Line):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
        dash = f' stroke-dasharray="{_DASH[0]:g} {_DASH[1]:g}"' if shape.dashed else ""
        more = f'fill="none" stroke="{shape.colour}" stroke-width="{shape.width}"{dash}'
        return f'<polyline points="{path}" {more}/>'
    x, y = shape.at
    size = f'width="{shape.width:.1f}" height="{shape.height}"'
    return f'<rect x="{x}" y="{y}" {size} fill="{shape.colour}"/>'


def png(found: Prediction, title: str) -> bytes:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (_PNG_SCALE * WIDTH, _PNG_SCALE * HEIGHT), "white")
    canvas = ImageDraw.Draw(image)
    for shape in shapes(found, title):
        _paint(canvas, shape)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _paint(canvas: ImageDraw.ImageDraw, shape: Shape) -> None:
    if isinstance(shape, Text):
        from PIL import ImageFont

        font = ImageFont.load_default(_PNG_SCALE * shape.size)  # comes with Pillow
        anchor = "ls" if shape.anchor == "start" else "rs"
        canvas.text(_scaled(shape.at), shape.text, "black", font, anchor)
    elif isinstance(shape, Line):
        for piece in _dashes(shape.points) if shape.dashed else [shape.points]:
            points = [_scaled(point) for point in piece]
            canvas.line(points, shape.colour, _PNG_SCALE * shape.width, joint="curve")
    elif shape.width * _PNG_SCALE >= 1:  # a rectangle of no width is still a pixel wide
        x, y = shape.at
        corners = [_scaled(shape.at), _scaled((x + shape.width, y + shape.height))]
        canvas.rectangle(corners, shape.colour)


def _scaled(point: Point) -> Point:
    return _PNG_SCALE * point[0], _PNG_SCALE * point[1]


def _dashes(points: tuple[Point, ...]) -> Iterator[tuple[Point, Point]]:
    """The dashes of a line of two points."""
    (x, y), (to_x, to_y) = points
    length = math.hypot(to_x - x, to_y - y) or 1.0
    step = (to_x - x) / length, (to_y - y) / length
    at = 0.0
    while at < length:
        end = min(length, at + _DASH[0])
        yield (x + at * step[0], y + at * step[1]), (x + end * step[0], y + end * step[1])
        at += sum(_DASH)


FORMATS: dict[str, Callable[[Prediction, str], bytes]] = {".png": png, ".svg": svg}
