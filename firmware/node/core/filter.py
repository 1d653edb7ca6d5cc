"""Filters over one channel of integers: what is worth recording, and what is an outlier.

All of them are pure, bounded in memory, in integers of the channel's scale, and cost a few
operations per sample. `ChannelFilter` joins them in the order in which they make sense: median and
Hampel look at the raw value, limits and rate at the cleaned one, the window keeps accounts, and
report-by-exception says whether this sample is worth a row.
"""

from node.core import quality

TYPE_CHECKING = False
if TYPE_CHECKING:
    from node.core.config import FilterConfig


class Deadband:
    """Report by exception: when the value has moved by `band`, or `report_ms` has passed.

    `min_interval_ms` holds back even a moved value. A `report_ms` of 0 never reports by time.
    """

    def __init__(self, band: int, report_ms: int, min_interval_ms: int = 0) -> None:
        self.band = band
        self.report_ms = report_ms
        self.min_interval_ms = min_interval_ms
        self._last: int | None = None
        self._last_ms = 0

    def due(self, value: int, now_ms: int) -> bool:
        """Whether `value` is to be reported; it is then the new reference once `reported`."""
        if self._last is None:
            return True
        elapsed = now_ms - self._last_ms
        if elapsed < self.min_interval_ms:
            return False
        if self.report_ms and elapsed >= self.report_ms:
            return True
        return abs(value - self._last) >= self.band if self.band else not self.report_ms

    def reported(self, value: int, now_ms: int) -> None:
        self._last = value
        self._last_ms = now_ms


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


class ChannelFilter:
    """All filters of one channel. `take` each sample; when a row is written, `emitted`."""

    def __init__(self, config: "FilterConfig") -> None:
        self._config = config
        self._deadband = Deadband(config.deadband, config.report_ms, config.min_interval_ms)
        self._median = Recent(config.median) if config.median else None
        self._hampel = Hampel(config.hampel, max(1, config.deadband)) if config.hampel else None
        self._rate = Rate(config.rate) if config.rate else None
        self.window = Window() if config.window else None
        self.value = 0
        self.quality = quality.ABSENT
        self.alarm = ""
        self._first = True

    def take(self, value: int, code: int, now_ms: int) -> bool:
        """A sample with its quality; True when it asks for a row. `alarm` names what it broke."""
        self.alarm = ""
        changed = self._first or quality.has_value(code) != quality.has_value(self.quality)
        self._first = False
        self.quality = code
        if not quality.has_value(code):
            return changed  # the first missing value is news, the next ones are not
        if self._hampel is not None and self._hampel.is_outlier(value):
            self.quality = quality.OUTLIER
        if self._median is not None:
            self._median.add(value)
            value = self._median.median()
        self.value = value
        if self.quality == quality.OUTLIER:
            return False
        self._look_for_alarm(value, now_ms)
        if self.window is not None:
            self.window.add(value)
            if self.window.count >= self._config.window:
                return True
            if not self._config.deadband:
                return changed or self.alarm != ""
        return changed or self.alarm != "" or self._deadband.due(value, now_ms)

    def _look_for_alarm(self, value: int, now_ms: int) -> None:
        config = self._config
        if config.low is not None and value < config.low:
            self.alarm = "low"
        elif config.high is not None and value > config.high:
            self.alarm = "high"
        if self._rate is not None and self._rate.exceeds(value, now_ms):
            self.alarm = self.alarm or "rate"

    def emitted(self, now_ms: int) -> None:
        """The row was written."""
        if quality.has_value(self.quality):
            self._deadband.reported(self.value, now_ms)

    def fill(self, values: "list[int | None]", codes: "list[int]", at: int) -> int:
        """Put this channel's columns at `at` of a row; the index behind them."""
        good = quality.has_value(self.quality)
        window = self.window
        if window is None:
            values[at] = self.value if good else None
            codes[at] = self.quality
            return at + 1
        row = (window.mean, window.low, window.high) if window.count else (None, None, None)
        for index in range(3):
            values[at + index] = row[index]
            codes[at + index] = quality.GOOD if window.count else self._missing()
        values[at + 3] = window.count
        codes[at + 3] = quality.GOOD
        window.reset()
        return at + 4

    def _missing(self) -> int:
        return self.quality if not quality.has_value(self.quality) else quality.SKIPPED
