"""Filters over one channel of integers: what is worth recording, and what is an outlier.

All of them are pure, bounded in memory, in integers of the channel's scale, and cost a few
operations per sample. `ChannelFilter` joins them in the order in which they make sense: median and
Hampel look at the raw value, limits and rate at the cleaned one, the window keeps accounts, and
report-by-exception says whether this sample is worth a row. Those that few products use are in
`node.core.smooth`.
"""

from node.core import quality

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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


class ChannelFilter:
    """All filters of one channel. `take` each sample; when a row is written, `emitted`."""

    def __init__(self, config: "FilterConfig") -> None:
        self._deadband = Deadband(config.deadband, config.report_ms, config.min_interval_ms)
        # copies: the configuration's code need not stay in memory
        self._low, self._high, self._full = config.low, config.high, config.window
        self._median: Any = None
        self._hampel: Any = None
        self._rate: Any = None
        self.window: Any = None
        if config.median or config.hampel or config.rate or config.window:
            self._more(config)
        self.value = 0
        self.quality = quality.ABSENT
        self.alarm = ""
        self._first = True

    def _more(self, config: "FilterConfig") -> None:
        from node.core import smooth

        if config.median:
            self._median = smooth.Recent(config.median)
        if config.hampel:
            self._hampel = smooth.Hampel(config.hampel, max(1, config.deadband))
        if config.rate:
            self._rate = smooth.Rate(config.rate)
        if config.window:
            self.window = smooth.Window()

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
            if self.window.count >= self._full:
                return True
            if not self._deadband.band:
                return changed or self.alarm != ""
        return changed or self.alarm != "" or self._deadband.due(value, now_ms)

    def _look_for_alarm(self, value: int, now_ms: int) -> None:
        if self._low is not None and value < self._low:
            self.alarm = "low"
        elif self._high is not None and value > self._high:
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

    def peek(self, values: "list[int | None]", codes: "list[int]") -> None:
        """Append this channel's columns as they would be in a row of this sample alone."""
        good = quality.has_value(self.quality)
        count = 1 if self.window is None else 3
        values.extend([self.value if good else None] * count)
        codes.extend([self.quality] * count)
        if self.window is not None:
            values.append(1 if good else 0)
            codes.append(quality.GOOD)

    def _missing(self) -> int:
        return self.quality if not quality.has_value(self.quality) else quality.SKIPPED
