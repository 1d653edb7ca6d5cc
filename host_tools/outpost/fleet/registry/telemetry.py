"""The time series, the latest value of each metric, and the books on loss and duplicates.

A record is (device, boot, seq).  Which of them arrived is kept as merged ranges per boot, so a
record is stored once however often QoS 1 delivers it, a late one fills its hole, and a hole that
stays is a loss that can be named.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from outpost.fleet.registry.database import Database

MAX_POINTS = 20_000


@dataclass(frozen=True)
class Reading:
    """One value of one metric; `value` for numbers and booleans, `text` for everything else."""

    metric: str
    ts_ms: int
    value: float | None
    unit: str = ""
    text: str | None = None
    quality: int = 0  # node.core.quality; 0 is a plain good value


@dataclass(frozen=True)
class Flow:
    """What came of the records a device numbered: the basis of the loss and duplicate SLIs."""

    received: int
    duplicates: int
    lost: int


class Telemetry:
    def __init__(self, db: Database) -> None:
        self._db = db

    def claim(self, device_id: str, boot: int, first: int, last: int) -> list[tuple[int, int]]:
        """Book records first..last; returns the sub-ranges that were not there before."""
        with self._db.write() as db:
            touching = db.execute(
                "SELECT first, last FROM sequences WHERE device = ? AND boot = ?"
                " AND last >= ? AND first <= ? ORDER BY first",
                (device_id, boot, first - 1, last + 1),
            ).fetchall()
            fresh = _holes(first, last, [(row["first"], row["last"]) for row in touching])
            db.executemany(
                "DELETE FROM sequences WHERE device = ? AND boot = ? AND first = ?",
                [(device_id, boot, row["first"]) for row in touching],
            )
            db.execute(
                "INSERT INTO sequences VALUES (?, ?, ?, ?)",
                (
                    device_id,
                    boot,
                    min([first] + [row["first"] for row in touching]),
                    max([last] + [row["last"] for row in touching]),
                ),
            )
        return fresh

    def learn_clock(self, device_id: str, boot: int, offset_ms: int, certain: bool) -> None:
        """`certain`: the device knew the time.  Else the offset is from arrival, which can only be
        late, so the smallest counts."""
        with self._db.write() as db:
            db.execute(
                "INSERT INTO clocks VALUES (?, ?, ?, ?) ON CONFLICT (device, boot) DO UPDATE SET"
                " offset_ms = excluded.offset_ms, certain = excluded.certain"
                " WHERE excluded.certain > certain"
                " OR (excluded.certain = certain AND excluded.offset_ms < offset_ms)",
                (device_id, boot, offset_ms, int(certain)),
            )

    def clock(self, device_id: str, boot: int) -> int | None:
        row = self._db.one(
            "SELECT offset_ms FROM clocks WHERE device = ? AND boot = ?", (device_id, boot)
        )
        return row["offset_ms"] if row else None

    def count(self, device_id: str, name: str, by: int = 1) -> None:
        if by:
            with self._db.write() as db:
                db.execute(
                    "INSERT INTO counters VALUES (?, ?, ?) ON CONFLICT (device, name)"
                    " DO UPDATE SET value = value + excluded.value",
                    (device_id, name, by),
                )

    def store(self, device_id: str, readings: Iterable[Reading]) -> None:
        rows = list(readings)
        newest: dict[str, Reading] = {}
        for row in rows:
            known = newest.get(row.metric)
            if known is None or row.ts_ms >= known.ts_ms:
                newest[row.metric] = row
        with self._db.write() as db:
            db.executemany(
                "INSERT OR IGNORE INTO telemetry VALUES (?, ?, ?, ?, ?, ?)",
                [(device_id, r.metric, r.ts_ms, r.value, r.text, r.quality) for r in rows],
            )
            db.executemany(
                "INSERT INTO latest VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (device, metric) DO"
                " UPDATE SET ts_ms = excluded.ts_ms, value = excluded.value, text = excluded.text,"
                " unit = excluded.unit WHERE excluded.ts_ms >= latest.ts_ms",
                [(device_id, r.metric, r.ts_ms, r.value, r.text, r.unit) for r in newest.values()],
            )

    def latest(self, device_id: str | None = None) -> dict[str, dict[str, Reading]]:
        """device -> metric -> newest reading, of one device or of all."""
        result: dict[str, dict[str, Reading]] = {}
        for row in self._db.all(
            "SELECT * FROM latest WHERE ? IS NULL OR device = ? ORDER BY device, metric",
            (device_id, device_id),
        ):
            reading = Reading(row["metric"], row["ts_ms"], row["value"], row["unit"], row["text"])
            result.setdefault(row["device"], {})[row["metric"]] = reading
        return result

    def series(
        self, device_id: str, metric: str, span_ms: tuple[int, int], limit: int = 2000
    ) -> list[tuple[int, float]]:
        """Numeric points of a span, oldest first; thinned to `limit` by taking every n-th."""
        points = [
            (row["ts_ms"], row["value"])
            for row in self._db.all(
                "SELECT ts_ms, value FROM (SELECT ts_ms, value FROM telemetry WHERE device = ?"
                " AND metric = ? AND ts_ms BETWEEN ? AND ? AND value IS NOT NULL"
                " ORDER BY ts_ms DESC LIMIT ?) ORDER BY ts_ms",
                (device_id, metric, *span_ms, MAX_POINTS),
            )
        ]
        step = -(-len(points) // limit) if limit > 0 else 1
        # Counted from the newest, so that the last point shown is always the last point known.
        return points[::-1][:: max(step, 1)][::-1]

    def flow(self, device_id: str | None = None) -> Flow:
        counted = {
            row["name"]: row["total"]
            for row in self._db.all(
                "SELECT name, sum(value) AS total FROM counters WHERE ? IS NULL OR device = ?"
                " GROUP BY name",
                (device_id, device_id),
            )
        }
        row = self._db.one(
            "SELECT coalesce(sum(hole), 0) AS lost FROM (SELECT max(last) - min(first) + 1"
            " - sum(last - first + 1) AS hole FROM sequences WHERE ? IS NULL OR device = ?"
            " GROUP BY device, boot)",
            (device_id, device_id),
        )
        return Flow(
            counted.get("received", 0), counted.get("duplicates", 0), row["lost"] if row else 0
        )

    def counter(self, name: str, device_id: str | None = None) -> int:
        row = self._db.one(
            "SELECT coalesce(sum(value), 0) AS total FROM counters WHERE name = ?"
            " AND (? IS NULL OR device = ?)",
            (name, device_id, device_id),
        )
        return int(row["total"]) if row else 0

    def expire(self, before_ms: int) -> int:
        with self._db.write() as db:
            return db.execute("DELETE FROM telemetry WHERE ts_ms < ?", (before_ms,)).rowcount


def _holes(first: int, last: int, known: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts of first..last outside the known ranges (sorted, disjoint)."""
    holes = []
    for start, end in known:
        if start > first:
            holes.append((first, min(start - 1, last)))
        first = max(first, end + 1)
    if first <= last:
        holes.append((first, last))
    return holes
