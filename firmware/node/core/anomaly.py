"""Anomaly detection on one channel: an exponentially weighted mean with a two-sided CUSUM.

Theory. The EWMA follows the slow course (daily swing); the residual x - mean is summed up, less an
allowance `drift` per sample, separately upwards and downwards (Page 1954). A sum above `threshold`
is an alarm: small lasting shifts are found as surely as jumps, and single noise is forgotten. The
mean keeps `SHIFT` more bits than the value, so slow changes are not lost to rounding.
"""

from micropython import const

_SHIFT = const(6)  # the EWMA's weight: 1/64
_WARM_UP = const(16)


class Anomaly:
    """`threshold` and `drift` in the channel's scale; drift defaults to an eighth of threshold."""

    def __init__(self, threshold: int, drift: int = 0) -> None:
        self.threshold = threshold
        self.drift = drift or max(1, threshold // 8)
        self._mean = 0  # times 2**_SHIFT
        self._seen = 0
        self.up = self.down = 0

    @property
    def mean(self) -> int:
        return self._mean >> _SHIFT

    def take(self, value: int) -> bool:
        """True when this sample completes an anomaly; the sums then start over."""
        if self._seen == 0:
            self._mean = value << _SHIFT
        residual = value - (self._mean >> _SHIFT)
        if self._seen < _WARM_UP:
            # A plain average first: the detector must not take the start for the normal.
            self._seen += 1
            self._mean += ((value << _SHIFT) - self._mean) // self._seen
            return False
        self._mean += residual
        self.up = max(0, self.up + residual - self.drift)
        self.down = max(0, self.down - residual - self.drift)
        if self.up <= self.threshold and self.down <= self.threshold:
            return False
        self.up = self.down = 0
        self._mean = value << _SHIFT  # the new level is the normal one from here
        return True
