"""`select` on virtual time: waits end at the next thing due, and in fast mode are not waited for.

In fast mode a wait with nothing registered jumps.  With streams registered, real data may be on its
way from a real broker, so each real millisecond of silence counts for `fast_rate` virtual ones.
"""

import select as _host

from . import clock, shared

POLLIN = _host.POLLIN
POLLOUT = _host.POLLOUT
POLLERR = _host.POLLERR
POLLHUP = _host.POLLHUP
_GRACE_MS = 1
_SLICE_MS = 250  # pins and radio changes made by the runner are seen at least this often


class poll:
    def __init__(self):
        self._host = _host.poll()
        self._count = 0
        self._first = None
        self._rest = None

    def register(self, stream, mask=POLLIN | POLLOUT):
        self._host.register(stream, mask)
        self._count += 1

    def modify(self, stream, mask):
        self._host.modify(stream, mask)

    def unregister(self, stream):
        self._host.unregister(stream)
        self._count = max(0, self._count - 1)

    def poll(self, timeout=-1):
        return [(pair[0], pair[1]) for pair in self.ipoll(timeout)]

    def ipoll(self, timeout=-1, flags=0):
        self._first = None
        self._wait(timeout if timeout is not None else -1)
        return self

    def __iter__(self):
        return self

    def __next__(self):
        first = self._first
        if first is not None:
            self._first = None
            return first
        for pair in self._rest:  # takes one; the host's iterator allocates nothing
            return pair
        raise StopIteration

    def _ready(self, timeout):
        self._rest = self._host.ipoll(timeout)
        for pair in self._rest:
            self._first = pair
            return True
        return False

    def _wait(self, timeout):
        clock.check()
        end = clock.now_ms() + timeout
        while True:
            left = -1 if timeout < 0 else max(0, end - clock.now_ms())
            step = clock.until_next(_SLICE_MS if left < 0 else min(left, _SLICE_MS))
            if shared.S.fast:
                if self._ready(_GRACE_MS if self._count and left else 0):
                    return
                self._jump(left)
            elif self._ready(step):
                return
            clock.check()
            if timeout >= 0 and end - clock.now_ms() <= 0:
                return

    def _jump(self, left):
        limit = _GRACE_MS * shared.S.fast_rate if self._count else -1
        if limit < 0:
            step = clock.until_next(left)
        else:
            step = clock.until_next(limit if left < 0 else min(left, limit))
        if step < 0:
            clock.sleep_ms(_SLICE_MS)  # nothing will ever wake it but the watchdog
        elif step:
            clock.jump(step)
