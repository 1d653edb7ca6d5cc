"""Waiting for a descriptor of the host in virtual time.

In fast mode real data may be on its way from a real peer, so every real millisecond of silence
counts for `fast_rate` virtual ones; time jumps freely only where nothing real can happen.
"""

from . import clock, libc, shared

GRACE_MS = 1
SLICE_MS = 250  # pins and radio conditions set by the runner are seen at least this often
IN, OUT, ERR, HUP = 1, 4, 8, 16
_pollfd = bytearray(8)


def ready(fd, events, timeout_ms):
    """The events of `fd` that are there within `timeout_ms` of real time; 0 when none."""
    for index in range(4):
        _pollfd[index] = fd >> 8 * index & 0xFF
    _pollfd[4] = events
    _pollfd[5] = _pollfd[6] = _pollfd[7] = 0
    if libc.poll(_pollfd, 1, timeout_ms) <= 0:
        return 0
    return _pollfd[6]


def until_ready(fd, events, timeout_ms):
    """The same in virtual time; -1 waits for ever."""
    end = clock.now_ms() + timeout_ms
    while True:
        left = -1 if timeout_ms < 0 else max(0, end - clock.now_ms())
        step = clock.until_next(SLICE_MS if left < 0 else min(left, SLICE_MS))
        found = ready(fd, events, GRACE_MS if shared.S.fast and left else step)
        if found:
            return found
        if shared.S.fast and left:
            pace(left)
        clock.check()
        if timeout_ms >= 0 and end - clock.now_ms() <= 0:
            return 0


def pace(left):
    """A real grace has passed in silence: let virtual time follow it."""
    limit = GRACE_MS * shared.S.fast_rate
    clock.jump(max(0, clock.until_next(limit if left < 0 else min(left, limit))))
