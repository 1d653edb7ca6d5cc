"""Trains the decision forest of node.core.model on rows that are mostly normal.

Theory: density by classification (Hastie, Tibshirani, Friedman, section 14.2.4). The trees learn
to tell the recorded rows from made-up ones, half of them spread evenly over three times the
range, half with each feature drawn from another row; where made-up rows win, a row is unusual.
Deterministic: the same rows, settings and seed give the same bytes. The features come from the
device's own code. Trees are added until the 4 KB of a model are full; the threshold is the score
below which the wanted share of the training rows lies.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

from loader import cbor
from node.core.model import LEAF, MAX_BYTES, MAX_COLUMNS, MAX_TREES, NODE, Features, Model

from outpost.errors import ExitCode, OutpostError

_POINTS = 400  # recorded rows per tree, and as many made-up ones
_DEPTH = 6
_LEAST_SPLIT = 24
_STEP = 4
_CANDIDATES = 12
_SCALE = 100  # a leaf's value: per cent of recorded rows
_LEAST_ROWS = 500
_RESERVE = 64  # bytes of CBOR around names, shifts, offsets and nodes

Point = tuple[int, ...]
Labelled = tuple[Point, int]


@dataclass(frozen=True)
class Settings:
    """`false_alarms` is the share of normal rows that may be called anomalies."""

    false_alarms: float = 0.001
    seed: int = 1


@dataclass(frozen=True)
class Trained:
    """The model's bytes, and how it does on the rows it was trained on."""

    data: bytes
    rows: int
    trees: int
    threshold: int
    flagged: int


def train(rows: list[list[int]], columns: list[str], settings: Settings) -> Trained:
    """A model for `columns`, whose values `rows` holds in that order."""
    if not 0 < len(columns) <= MAX_COLUMNS:
        raise _error(f"{len(columns)} columns", f"choose 1 to {MAX_COLUMNS}")
    if len(rows) < _LEAST_ROWS:
        raise _error(f"{len(rows)} complete rows", f"record at least {_LEAST_ROWS}")
    shifts = _shifts(rows, len(columns))
    points = _points(rows, shifts)
    dice = random.Random(settings.seed)
    room = MAX_BYTES - _RESERVE - sum(len(name) + 2 for name in columns) - 2 * len(shifts)
    nodes, roots = _forest(points, room, dice)
    head = {"v": 1, "kind": "forest", "columns": columns, "shifts": shifts}
    fields = {**head, "trees": roots, "nodes": bytes(nodes), "threshold": 0}
    scores = sorted(_scores(cbor.encode(fields), rows))
    threshold = scores[min(len(scores) - 1, int(settings.false_alarms * len(scores)))]
    data = cbor.encode({**fields, "threshold": threshold})
    flagged = sum(score < threshold for score in scores)
    return Trained(data, len(rows), len(roots), threshold, flagged)


def _error(what: str, fix: str) -> OutpostError:
    return OutpostError("model-data", f"cannot train on {what}", fix, ExitCode.USAGE)


def _shifts(rows: list[list[int]], columns: int) -> list[int]:
    """As few bits away as lets the largest feature of the recording fit 15 bits."""
    features = Features([0] * (2 * columns))
    most = [1] * (2 * columns)
    wide = _Wide(features)
    for row in rows:
        for at, value in enumerate(wide.take(row)):
            most[at] = max(most[at], abs(value))
    return [max(0, value.bit_length() - 13) for value in most]


class _Wide:
    """Features before they are cut to 16 bits, by their definition."""

    def __init__(self, features: Features) -> None:
        self._last: list[int] | None = None
        self._mean: list[float] = []

    def take(self, row: list[int]) -> list[int]:
        if self._last is None:
            self._last, self._mean = row, [float(value) for value in row]
        out = []
        for at, value in enumerate(row):
            out += [int(value - self._mean[at]), value - self._last[at]]
            self._mean[at] += (value - self._mean[at]) / 64
        self._last = row
        return out


def _points(rows: list[list[int]], shifts: list[int]) -> list[Point]:
    features = Features(shifts)
    return [tuple(features.x) for row in rows if features.take(row)]


def _scores(data: bytes, rows: list[list[int]]) -> list[int]:
    model = Model(data)
    scores = []
    for row in rows:
        before = model.score
        model.score = -1
        model.take(row)
        if model.score >= 0:
            scores.append(model.score)
        else:
            model.score = before
    return scores


def _forest(points: list[Point], room: int, dice: random.Random) -> tuple[bytearray, list[int]]:
    nodes = bytearray()
    roots: list[int] = []
    box = _box(points)
    while len(roots) < MAX_TREES:
        real = dice.choices(points, k=_POINTS)
        rows = [(point, 1) for point in real]
        rows += [(_uniform(box, dice), 0) for _ in range(_POINTS // 2)]
        rows += [(_shuffled(points, dice), 0) for _ in range(_POINTS // 2)]
        tree = _grow(rows, 0, dice)
        if len(nodes) + len(tree) + 3 * (len(roots) + 1) > room:
            break
        roots.append(len(nodes) // NODE)
        nodes += tree
    return nodes, roots


def _box(points: list[Point]) -> list[tuple[int, int]]:
    """Three times the range of each feature: what the unusual could be."""
    box = []
    for values in zip(*points, strict=True):
        low, high = min(values), max(values)
        span = max(2, high - low)
        box.append((max(-32768, low - span), min(32767, high + span)))
    return box


def _uniform(box: list[tuple[int, int]], dice: random.Random) -> Point:
    return tuple(dice.randint(low, high) for low, high in box)


def _shuffled(points: list[Point], dice: random.Random) -> Point:
    """Each feature from another row: plausible one by one, not together."""
    return tuple(dice.choice(points)[at] for at in range(len(points[0])))


def _grow(rows: list[Labelled], depth: int, dice: random.Random) -> bytes:
    """A subtree in the order the device walks: node, left subtree, right subtree."""
    split = _best_split(rows, dice) if depth < _DEPTH and len(rows) >= _LEAST_SPLIT else None
    if split is None:
        normal = sum(label for _, label in rows)
        return struct.pack("<BBh", LEAF, 0, round(_SCALE * normal / len(rows)))
    feature, threshold = split
    left = _grow([row for row in rows if row[0][feature] < threshold], depth + 1, dice)
    right = _grow([row for row in rows if row[0][feature] >= threshold], depth + 1, dice)
    return struct.pack("<BBh", feature, 1 + len(left) // NODE, threshold) + left + right


def _best_split(rows: list[Labelled], dice: random.Random) -> tuple[int, int] | None:
    """The split that mixes normal and synthetic rows least (Gini), of some features."""
    features = len(rows[0][0])
    best: tuple[float, int, int] | None = None
    for feature in dice.sample(range(features), max(1, (features + 1) // 2)):
        ordered = sorted((point[feature], label) for point, label in rows)
        for at in range(_STEP, len(ordered) - _STEP, max(1, len(ordered) // _CANDIDATES)):
            threshold = ordered[at][0]
            left = [label for value, label in ordered if value < threshold]
            if len(left) < _STEP:
                continue
            mixed = _mixed(sum(left), len(left))
            right = sum(label for _, label in ordered) - sum(left)
            mixed += _mixed(right, len(ordered) - len(left))
            if best is None or mixed < best[0]:
                best = (mixed, feature, threshold)
    if best is None or best[0] >= 0.98 * _mixed(sum(row[1] for row in rows), len(rows)):
        return None
    return best[1], best[2]


def _mixed(normal: int, count: int) -> float:
    return 2.0 * normal * (count - normal) / count


def judge(data: bytes, rows: list[list[int]]) -> list[int]:
    """The numbers of the rows that a model calls anomalies."""
    model = Model(data)
    return [at for at, row in enumerate(rows) if model.take(row)]
