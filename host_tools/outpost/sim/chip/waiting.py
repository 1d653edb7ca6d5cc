"""Waiting for a descriptor of the host in virtual time.

In fast mode real data may be on its way from a real peer.  For `_ANSWER_MS` after the last byte
moved, a real millisecond is a virtual one, so a round trip takes (and is metered as) what it took;
after that each millisecond of silence counts for up to `fast_rate`; in modelled time, where months
are played, also when it is asked for in small steps.  Time jumps freely only where nothing real
can happen: a program that sleeps between two looks at a socket is held to the pace of an answer.
"""

import time as _host

from . import clock, libc, shared

GRACE_MS = 1
_ANSWER_MS = 50
_MORE_MS = 15  # in modelled time, for what may follow when every answer has come
_SMALL_MS = 20  # virtual, in modelled time: what several small waits may share one grace for
SLICE_MS = 250  # pins and radio conditions set by the runner are seen at least this often
IN, OUT, ERR, HUP = 1, 4, 8, 16
_pollfd = bytearray(8)
_moved_at = 0
_awaited = False
_jumped_ms = 0


def moved():
    """Bytes came in just now."""
    global _moved_at, _awaited
    _moved_at = _host.ticks_ms()
    _awaited = False


def asked(real):
    """Bytes went out just now, or a connection was asked for; `real`: of a peer that answers."""
    global _moved_at, _awaited
    _moved_at = _host.ticks_ms()
    _awaited = real


def closed():
    """Nobody waits for an answer any more."""
    global _awaited
    _awaited = False


def _answering():
    owed = _awaited or shared.S.fast != clock.MODELLED
    return _host.ticks_diff(_host.ticks_ms(), _moved_at) < (_ANSWER_MS if owed else _MORE_MS)


def grace_ms():
    """How long to look for real data before virtual time runs on."""
    global _jumped_ms
    if _jumped_ms < _SMALL_MS and shared.S.fast == clock.MODELLED and not _answering():
        return 0
    _jumped_ms = 0
    return GRACE_MS


def asleep(step):
    """Virtual time passes while the program waits for nothing real; -> whether it was paced,
    because an answer is due, which the program will look for when it wakes."""
    if not _awaited or not step or not _answering():
        return False
    libc.usleep(1000 * GRACE_MS)
    if shared.S.fast == clock.MODELLED:
        clock.jump(GRACE_MS)
    return True


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
        found = ready(fd, events, grace_ms() if shared.S.fast and left else step)
        if found:
            return found
        if shared.S.fast and left:
            pace(left)
        clock.check()
        if timeout_ms >= 0 and end - clock.now_ms() <= 0:
            return 0


def pace(left):
    """Nothing came within the grace: let virtual time run ahead of it."""
    global _jumped_ms
    if _answering():
        if shared.S.fast == clock.MODELLED:
            clock.jump(GRACE_MS)
        return
    limit = GRACE_MS * shared.S.fast_rate
    step = max(0, clock.until_next(limit if left < 0 else min(left, limit)))
    _jumped_ms += step
    clock.jump(step)
