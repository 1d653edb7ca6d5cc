"""`select` on virtual time: a wait ends at the next thing due, and fast mode does not wait.

With nothing registered a fast wait jumps; with streams registered it paces (see `waiting`).
"""

import select as _host

from . import clock, shared, waiting

POLLIN = _host.POLLIN
POLLOUT = _host.POLLOUT
POLLERR = _host.POLLERR
POLLHUP = _host.POLLHUP


class poll:
    def __init__(self):
        self._host = _host.poll()
        self._count = 0
        self._first = None
        self._rest = ()

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
        self._rest = ()
        self._wait(-1 if timeout is None else timeout)
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
            if shared.S.fast:
                if self._ready(waiting.grace_ms() if self._count and left else 0):
                    return
                self._jump(left)
            else:
                limit = waiting.SLICE_MS if left < 0 else min(left, waiting.SLICE_MS)
                if self._ready(clock.until_next(limit)):
                    return
            clock.check()
            if timeout >= 0 and end - clock.now_ms() <= 0:
                return

    def _jump(self, left):
        if self._count:
            waiting.pace(left)
            return
        step = clock.until_next(left)
        if step < 0:  # nothing will ever wake it but the watchdog or the runner
            step = waiting.SLICE_MS
        if not waiting.asleep(step):
            clock.jump(step)
