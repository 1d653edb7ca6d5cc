"""A trained model that watches the rows: a decision forest as 4 KB of integers.

Theory: each tree says how usual a row is, by the leaf in which it ends (per cent of recorded rows
among recorded and made-up ones, see outpost/model/train.py). The sum over all trees is the score;
below `threshold` the row is an anomaly. Training (`outpost model train`) happens on the host from
recorded telemetry, with the `Features` of this module, so both sides see the same numbers.

Features of a column: its deviation from its own slow mean (1/64 per row), and its step since the
row before; both shifted right so that 16 bits hold them. A row with a missing value is not
judged.

model.cbor: {"v": 1, "kind": "forest", "columns": [names], "shifts": [bits], "trees": [offsets],
"nodes": bytes, "threshold": int}. A node is 4 bytes: feature u8 (255: leaf), distance to the right
child in nodes u8, value i16 LE (the threshold, or the leaf's value). The left child is
the next node; both directions go forward, so a walk ends whatever the bytes say.
"""

from loader import cbor
from micropython import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_BYTES = const(4096)
MAX_COLUMNS = const(16)
MAX_TREES = const(32)
LEAF = const(255)
NODE = const(4)
WARM_UP = const(64)
_MEAN_BITS = const(6)
_LOW = const(-32768)
_HIGH = const(32767)
_SHAPE = "v int kind str columns list shifts list trees list nodes bytes threshold int"


class ModelError(Exception):
    """A model.cbor that cannot be used. `code` is stable."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Features:
    """What the forest sees of a row. `shifts` has two entries per column: deviation, step."""

    def __init__(self, shifts: "list[int]") -> None:
        columns = len(shifts) // 2
        self._shifts = shifts
        self._means = [0] * columns
        self._last = [0] * columns
        self._seen = 0
        self.x = [0] * (2 * columns)

    def take(self, values: "list[int]") -> bool:
        """Compute `x` from a row; False while the means are still warming up."""
        warm = self._seen >= WARM_UP
        for at in range(len(self._means)):
            value = values[at]
            if self._seen == 0:
                self._means[at], self._last[at] = value << _MEAN_BITS, value
            mean = self._means[at]
            away = value - (mean >> _MEAN_BITS)
            self.x[2 * at] = self._small(away, 2 * at)
            self.x[2 * at + 1] = self._small(value - self._last[at], 2 * at + 1)
            # A plain average first, so that the start is not taken for the normal.
            share = away if warm else ((value << _MEAN_BITS) - mean) // (self._seen + 1)
            self._means[at] = mean + share
            self._last[at] = value
        self._seen += not warm
        return warm

    def _small(self, value: int, feature: int) -> int:
        return max(_LOW, min(_HIGH, value >> self._shifts[feature]))


class Model:
    """A checked model.cbor. `take` a row's values in the order of `columns`."""

    def __init__(self, data: "bytes | bytearray | memoryview") -> None:
        raw = _read(data)
        self.columns: list[str] = raw["columns"]
        self.threshold: int = raw["threshold"]
        self._features = Features(raw["shifts"])
        self._trees: list[int] = raw["trees"]
        self._nodes: bytes = raw["nodes"]
        self.score = 0
        _check_nodes(self._nodes, self._trees, len(raw["shifts"]))

    def take(self, values: "list[int]") -> bool:
        """True when the row is an anomaly; `score` then says how much of one."""
        if not self._features.take(values):
            return False
        score = 0
        for index in range(len(self._trees)):
            score += self._leaf(NODE * self._trees[index])
        self.score = score
        return score < self.threshold

    def _leaf(self, at: int) -> int:
        nodes, x = self._nodes, self._features.x
        while True:
            value = nodes[at + 2] | nodes[at + 3] << 8
            if value & 0x8000:
                value -= 0x10000
            feature = nodes[at]
            if feature == LEAF:
                return value
            at += NODE if x[feature] < value else NODE * nodes[at + 1]


def _read(data: "bytes | bytearray | memoryview") -> "dict[str, Any]":
    if len(data) > MAX_BYTES:
        raise ModelError("model-size")
    try:
        raw = cbor.decode(data)
        cbor.check(raw, _SHAPE)
    except cbor.VerifyError:
        raise ModelError("model-form")
    if raw["v"] != 1 or raw["kind"] != "forest":
        raise ModelError("model-kind")
    columns, shifts = raw["columns"], raw["shifts"]
    if not 0 < len(columns) <= MAX_COLUMNS or len(shifts) != 2 * len(columns):
        raise ModelError("model-shape")
    if not all(isinstance(name, str) for name in columns):
        raise ModelError("model-shape")
    if not all(type(bits) is int and 0 <= bits < 24 for bits in shifts):
        raise ModelError("model-shape")
    found: dict[str, Any] = raw
    return found


def _check_nodes(nodes: bytes, trees: "list[int]", features: int) -> None:
    """Every walk stays inside and goes forward to a leaf."""
    count = len(nodes) // NODE
    if len(nodes) % NODE or not count or not 0 < len(trees) <= MAX_TREES:
        raise ModelError("model-shape")
    if not all(type(root) is int and 0 <= root < count for root in trees):
        raise ModelError("model-shape")
    for at in range(count):
        feature, right = nodes[NODE * at], nodes[NODE * at + 1]
        if feature == LEAF:
            continue
        if feature >= features or right < 2 or at + right >= count:
            raise ModelError("model-nodes")
    if nodes[NODE * (count - 1)] != LEAF:
        raise ModelError("model-nodes")
