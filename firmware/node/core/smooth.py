"""Filters that only some products ask for: windows, medians, outliers, rates of change.

Pure, bounded in memory, in integers of the channel's scale. `node.core.filter` loads this when a
channel is configured with one of them.
"""


class Window:
    """Minimum, mean, maximum and count since the last `reset`."""

    def __init__(self) -> None:
        self.count = self.low = self.high = self._sum = 0

    def add(self, value: int) -> None:
        if self.count == 0:
            self.low = self.high = value
        elif value < self.low:
            self.low = value
        elif value > self.high:
            self.high = value
        self._sum += value
        self.count += 1

    @property
    def mean(self) -> int:
        """Rounded to the nearest; halves away from zero."""
        if self._sum < 0:
            return -((-2 * self._sum + self.count) // (2 * self.count))
        return (2 * self._sum + self.count) // (2 * self.count)

    def reset(self) -> None:
        self.count = self._sum = 0


class Recent:
    """The last `size` values in a ring, with a sorted copy for order statistics."""

    def __init__(self, size: int) -> None:
        self._ring = [0] * size
        self._sorted = [0] * size
        self._at = 0
        self.count = 0

    def add(self, value: int) -> None:
        self._ring[self._at] = value
        self._at = (self._at + 1) % len(self._ring)
        self.count = min(self.count + 1, len(self._ring))

    def median(self) -> int:
        """The middle one (the lower of two middles)."""
        for index in range(self.count):
            self._sorted[index] = self._ring[index]
        return self._middle()

    def deviation(self, centre: int) -> int:
        """The median of the distances from `centre`."""
        for index in range(self.count):
            self._sorted[index] = abs(self._ring[index] - centre)
        return self._middle()

    def _middle(self) -> int:
        row = self._sorted  # insertion sort in place: at most 15 values, and it allocates nothing
        for index in range(1, self.count):
            value, at = row[index], index
            while at and row[at - 1] > value:
                row[at] = row[at - 1]
                at -= 1
            row[at] = value
        return row[(self.count - 1) // 2]


class Hampel:
    """An outlier is further from the median of the window than three robust deviations.

    1.4826 * MAD estimates sigma of a normal distribution (Hampel 1974). `floor` keeps a constant
    signal, whose MAD is 0, from making every step of the last digit an outlier.
    """

    def __init__(self, size: int, floor: int = 1) -> None:
        self._recent = Recent(size)
        self._floor = floor
        self.rejected = 0

    def is_outlier(self, value: int) -> bool:
        """Judge `value` against the window before it, then let it in: a new level wins in time."""
        recent = self._recent
        outlier = False
        if recent.count >= 3:
            centre = recent.median()
            # 3 * 1.4826 = 4.4478; in sixteenths, to stay in small integers
            limit = max(recent.deviation(centre), self._floor) * 71 // 16
            outlier = abs(value - centre) > limit
        recent.add(value)
        self.rejected += outlier
        return outlier


class Rate:
    """Change per minute between one sample and the one before it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.per_minute = 0
        self._last: int | None = None
        self._last_ms = 0

    def exceeds(self, value: int, now_ms: int) -> bool:
        last, elapsed = self._last, now_ms - self._last_ms
        self._last, self._last_ms = value, now_ms
        if last is None or elapsed <= 0:
            return False
        self.per_minute = (value - last) * 60000 // elapsed
        return abs(self.per_minute) > self.limit


class AdaptiveInterval:
    """Sample faster while the signal moves: halve the interval, or let it grow by a quarter."""

    def __init__(self, low_ms: int, high_ms: int) -> None:
        self.low_ms = low_ms
        self.high_ms = high_ms
        self.now_ms = high_ms

    def step(self, moved: bool) -> int:
        """The next interval, given whether this sample was worth reporting."""
        if moved:
            self.now_ms = max(self.low_ms, self.now_ms // 2)
        else:
            self.now_ms = min(self.high_ms, self.now_ms + self.now_ms // 4 + 1)
        return self.now_ms
