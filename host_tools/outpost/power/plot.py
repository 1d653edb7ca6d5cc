"""The prediction as one SVG: the battery's charge over its life, and where the charge goes.

Written by hand: two polylines and five bars need no plotting library (docs/decisions).
"""

from __future__ import annotations

from html import escape

from outpost.power.predict import PARTS, Prediction

_WIDTH, _HEIGHT = 720, 320
_LEFT, _TOP, _BOTTOM = 60, 40, 270
_CHART = 400
_COLOURS = ("#6b7280", "#2563eb", "#0d9488", "#d97706", "#dc2626")


def svg(found: Prediction, title: str) -> str:
    """The picture as text."""
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="22" font-size="15">{escape(title)}</text>',
        *_life(found),
        *_bars(found),
        "</svg>",
    ]
    return "\n".join(body) + "\n"


def _life(found: Prediction) -> list[str]:
    """Charge left over the days: as played, then on at the same average."""
    days = found.life_days or len(found.daily_mah) or 1
    capacity = found.capacity_mah or found.total_mah or 1
    played = list(enumerate(found.daily_mah, 1))
    points = [(0.0, 0.0), *((float(day), mah) for day, mah in played if day <= days)]
    last = [points[-1], (float(days), capacity if found.capacity_mah else points[-1][1])]

    def place(point: tuple[float, float]) -> str:
        x = _LEFT + _CHART * point[0] / days
        y = _TOP + (_BOTTOM - _TOP) * min(1.0, point[1] / capacity)
        return f"{x:.1f},{y:.1f}"

    return [
        f'<path d="M{_LEFT} {_TOP}V{_BOTTOM}H{_LEFT + _CHART}" fill="none" stroke="black"/>',
        _line([place(point) for point in points], "#2563eb", ""),
        _line([place(point) for point in last], "#2563eb", ' stroke-dasharray="5 4"'),
        f'<text x="{_LEFT - 6}" y="{_TOP + 4}" text-anchor="end">{capacity:.0f}</text>',
        f'<text x="{_LEFT - 6}" y="{_BOTTOM + 4}" text-anchor="end">0</text>',
        f'<text x="{_LEFT + _CHART}" y="{_BOTTOM + 16}" text-anchor="end">{days:.0f} days</text>',
        f'<text x="{_LEFT}" y="{_BOTTOM + 32}">charge left (mAh), {found.average_ua:.1f} uA on '
        "average</text>",
    ]


def _line(points: list[str], colour: str, more: str) -> str:
    path = " ".join(points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{more}/>'


def _bars(found: Prediction) -> list[str]:
    total = sum(found.charge_uams.values()) or 1
    out = []
    for index, (part, colour) in enumerate(zip(PARTS, _COLOURS, strict=True)):
        share = found.charge_uams[part] / total
        y = _TOP + 20 + 40 * index
        out.append(f'<text x="500" y="{y}">{part} {share:.1%}</text>')
        out.append(
            f'<rect x="500" y="{y + 5}" width="{180 * share:.1f}" height="12" fill="{colour}"/>'
        )
    return out
