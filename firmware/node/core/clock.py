"""What time it is, and how sure of it the device may be.

Owns three facts: the offset between the device's uptime and Unix time (None until known), a
lower bound that never goes back (persisted, so that a cold clock cannot be told that it is
2001), and the drift of the crystal in parts per million. Pure: uptime comes in as an argument.

SNTP is not authenticated, so a time below the lower bound is refused, and a jump forward of
more than `JUMP_S` is believed only when a second server agrees within `AGREE_S`.
"""

from micropython import const

JUMP_S = const(172800)
AGREE_S = const(30)
_DRIFT_MIN_MS = const(3600000)  # an hour between syncs before drift means anything
_DRIFT_MAX_PPM = const(500)
_EARLIEST_S = 1704067200  # 2024-01-01: cold clocks start at 1970, 2000 or 2021
_BOUND_STEP_S = const(43200)  # how stale the persisted bound may get: two writes a day


class Clock:
    """Unix time from uptime. All times are integers: ms, or s where the name says so."""

    def __init__(self, lower_bound_s: int) -> None:
        self.lower_bound_s = lower_bound_s
        self.saved_bound_s = lower_bound_s
        self._offset_ms: int | None = None
        self._pending_ms: int | None = None
        self._synced_up_ms = 0
        self._measured = False
        self.drift_ppm: int | None = None
        self.syncs = 0
        self.refused = 0

    @property
    def known(self) -> bool:
        return self._offset_ms is not None

    def offset_ms(self) -> int | None:
        """Unix time minus uptime, or None."""
        return self._offset_ms

    def unix_ms(self, up_ms: int) -> int | None:
        return None if self._offset_ms is None else self._offset_ms + up_ms

    def unix_s(self, up_ms: int) -> int | None:
        return None if self._offset_ms is None else (self._offset_ms + up_ms) // 1000

    def restore(self, unix_ms: int, up_ms: int) -> bool:
        """Take the time of a clock that ran through the sleep; False when it is below the bound,
        or a cold one's."""
        if unix_ms // 1000 < max(self.lower_bound_s, _EARLIEST_S):
            return False
        self._offset_ms = unix_ms - up_ms
        self._measured = False
        return True

    def synced(self, unix_ms: int, up_ms: int) -> str:
        """Take a server's time: `ok`, `refused` (before the bound) or `again` (ask another)."""
        if unix_ms // 1000 < self.lower_bound_s:
            self.refused += 1
            return "refused"
        if not self._believable(unix_ms, up_ms):
            return "again"
        self._learn_drift(unix_ms, up_ms)
        self._offset_ms = unix_ms - up_ms
        self._synced_up_ms = up_ms
        self._measured = True
        self.syncs += 1
        self.lower_bound_s = unix_ms // 1000
        return "ok"

    def bound_to_save(self) -> int | None:
        """The bound, when it has moved enough to be worth a flash write; else None."""
        if self.lower_bound_s - self.saved_bound_s < _BOUND_STEP_S:
            return None
        self.saved_bound_s = self.lower_bound_s
        return self.lower_bound_s

    def _believable(self, unix_ms: int, up_ms: int) -> bool:
        believed = self.lower_bound_s * 1000
        if self._offset_ms is not None:
            believed = self._offset_ms + up_ms
        pending, self._pending_ms = self._pending_ms, unix_ms - up_ms
        if abs(unix_ms - believed) <= JUMP_S * 1000:
            return True
        # The first time of a device's life is always a jump: two servers must tell it alike.
        return pending is not None and abs(unix_ms - up_ms - pending) <= AGREE_S * 1000

    def _learn_drift(self, unix_ms: int, up_ms: int) -> None:
        if self._offset_ms is None or not self._measured:
            return
        elapsed_ms = up_ms - self._synced_up_ms
        if elapsed_ms < _DRIFT_MIN_MS:
            return
        error_ms = unix_ms - (self._offset_ms + up_ms)
        ppm = error_ms * 1000000 // elapsed_ms
        if -_DRIFT_MAX_PPM <= ppm <= _DRIFT_MAX_PPM:
            old = self.drift_ppm
            self.drift_ppm = ppm if old is None else (3 * old + ppm) // 4
