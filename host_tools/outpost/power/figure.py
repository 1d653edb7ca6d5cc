"""The prediction as shapes on a canvas: the battery's charge over its life, and where it goes.

Owns what the picture says and where; `outpost.power.plot` draws the same shapes as SVG and PNG.
"""

from __future__ import annotations

from dataclasses import dataclass

from outpost.power.predict import PARTS, Prediction

WIDTH, HEIGHT = 720, 320
_LEFT, _TOP, _BOTTOM = 60, 40, 270
_CHART = 400
_BARS_LEFT = 500
_COLOURS = ("#6b7280", "#2563eb", "#0d9488", "#d97706", "#dc2626")

Point = tuple[float, float]


@dataclass(frozen=True)
class Text:
    """`at` is the left or right end (`anchor` "start" or "end") of the text's base line."""

    at: Point
    text: str
    size: int = 12
    anchor: str = "start"


@dataclass(frozen=True)
class Line:
    points: tuple[Point, ...]
    colour: str
    width: int
    dashed: bool = False


@dataclass(frozen=True)
class Bar:
    at: Point
    width: float
    height: float
    colour: str


Shape = Text | Line | Bar


def shapes(found: Prediction, title: str) -> list[Shape]:
    """The whole picture, from back to front."""
    return [Text((_LEFT, 22), title, size=15), *_life(found), *_bars(found)]


def _life(found: Prediction) -> list[Shape]:
    """Charge left over the days: as played, then on at the same average."""
    days = found.life_days or len(found.daily_mah) or 1
    capacity = found.capacity_mah or found.total_mah or 1
    played = [(float(day), mah) for day, mah in enumerate(found.daily_mah, 1) if day <= days]
    points = [(0.0, 0.0), *played]
    last = [points[-1], (float(days), capacity if found.capacity_mah else points[-1][1])]

    def placed(points: list[Point]) -> tuple[Point, ...]:
        height = _BOTTOM - _TOP
        return tuple(
            (_LEFT + _CHART * day / days, _TOP + height * min(1.0, mah / capacity))
            for day, mah in points
        )

    right = _LEFT + _CHART
    average = f"charge left (mAh), {found.average_ua:.1f} uA on average"
    return [
        Line(((_LEFT, _TOP), (_LEFT, _BOTTOM), (right, _BOTTOM)), "#000000", 1),
        Line(placed(points), "#2563eb", 2),
        Line(placed(last), "#2563eb", 2, dashed=True),
        Text((_LEFT - 6, _TOP + 4), f"{capacity:.0f}", anchor="end"),
        Text((_LEFT - 6, _BOTTOM + 4), "0", anchor="end"),
        Text((right, _BOTTOM + 16), f"{days:.0f} days", anchor="end"),
        Text((_LEFT, _BOTTOM + 32), average),
    ]


def _bars(found: Prediction) -> list[Shape]:
    total = sum(found.charge_uams.values()) or 1
    out: list[Shape] = []
    for index, (part, colour) in enumerate(zip(PARTS, _COLOURS, strict=True)):
        share = found.charge_uams[part] / total
        y = _TOP + 20 + 40 * index
        out.append(Text((_BARS_LEFT, y), f"{part} {share:.1%}"))
        out.append(Bar((_BARS_LEFT, y + 5), 180 * share, 12, colour))
    return out
