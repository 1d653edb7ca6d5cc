"""A device's recorded telemetry as CSV: one row per sample, a column per metric, times in ms.

The server thins a series to what one answer may hold, by every n-th point. Here nothing may be
missing, so a span whose answer comes near the limit is asked again in two halves.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Protocol

LIMIT = 1000  # points of one answer, as outpost.fleet.api bounds them
Points = dict[int, dict[str, float]]


class Client(Protocol):
    def get(self, path: str, **query: object) -> dict[str, object]: ...


def collect(client: Client, path: str, span_ms: tuple[int, int]) -> Points:
    """time -> metric -> value of all that was recorded in the span, both ends included."""
    found: Points = {}
    spans = [span_ms]
    while spans:
        start, end = spans.pop()
        query = {"from": start, "to": end, "limit": LIMIT}
        series: list = client.get(path, **query)["series"]  # type: ignore[assignment,type-arg]
        # Thinning leaves more than half of the limit: fewer points are all there are.
        if start < end and any(len(one["points"]) > LIMIT // 2 for one in series):
            middle = (start + end) // 2
            spans += [(start, middle), (middle + 1, end)]
            continue
        for one in series:
            for at_ms, value in one["points"]:
                found.setdefault(at_ms, {})[one["metric"]] = value
    return found


def write_csv(path: Path, points: Points) -> list[str]:
    """Write the rows in order of time; the columns that there are."""
    columns = sorted({name for row in points.values() for name in row})
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["time_ms", *columns])
        for at_ms in sorted(points):
            row = points[at_ms]
            writer.writerow([at_ms, *(row.get(name, "") for name in columns)])
    return columns
