"""Virtual time: the host's monotonic clock since this boot plus whatever was skipped.

Owns the clock, the list of things due, and the watchdog's deadline.  In fast mode a wait is not
waited for: the clock jumps to the next thing due, which is run, until the wait is over.  The
watchdog sees virtual time, and an alarm of the host stands behind it for code that never asks what
time it is (`while True: pass`).
"""

import time as _host

from . import layout, libc, shared

_MASK = (1 << 30) - 1  # the period of ticks on the chips; also exact on the 32-bit VM
MODELLED = 2  # shared.S.fast: only modelled work takes time, not the host's
_CALLS_PER_MS = 64
_SYNC_US = 100
_SYNC_TRIES = 100000
_base = 0
_base_us = 0
_skipped_ms = 0
_skipped_us = 0
_due = []  # [at_ms, callback, argument], soonest first
_running = False
_calls = 0


def asked():
    """In modelled time a program that only asks for the time must see it pass."""
    global _calls
    if shared.S.fast == MODELLED:
        _calls += 1
        if _calls >= _CALLS_PER_MS:
            _calls = 0
            shared.S.skip_ms += 1


def start():
    global _base, _base_us
    _base = _host.ticks_ms() & _MASK
    _base_us = _host.ticks_us() & _MASK
    shared.S.skip_ms = 0


def now_ms():
    """Milliseconds since boot."""
    if shared.S.fast == MODELLED:
        return shared.S.skip_ms
    return (_host.ticks_ms() - _base & _MASK) + shared.S.skip_ms


def now_us():
    """Microseconds since boot, modulo the ticks period, without a large integer on the way."""
    global _skipped_ms, _skipped_us
    while _skipped_ms < shared.S.skip_ms:
        step = min(shared.S.skip_ms - _skipped_ms, 500000)
        _skipped_ms += step
        room = _MASK - _skipped_us
        if step * 1000 > room:
            _skipped_us = step * 1000 - room - 1
        else:
            _skipped_us += step * 1000
    if shared.S.fast == MODELLED:
        return _skipped_us
    return (_host.ticks_us() - _base_us & _MASK) - _MASK - 1 + _skipped_us & _MASK


def skip(ms):
    """Time that passes inside an operation of the chip."""
    shared.S.skip_ms += ms
    check()


def at(when_ms, callback, argument=None):
    """Run `callback(argument)` at `when_ms`; -> a handle for `cancel`."""
    return again([when_ms, callback, argument], when_ms)


def again(entry, when_ms):
    """Put an entry that has run back in, without allocating."""
    entry[0] = when_ms
    index = 0
    while index < len(_due) and _due[index][0] <= when_ms:
        index += 1
    _due.insert(index, entry)
    return entry


def arm_sync():
    """Stop where the scenario changes the world, until the runner has done so."""
    if shared.S.sync_ms > 0:
        at(shared.S.sync_ms, _sync)


def _sync(_):
    state = shared.S
    count = state.sync_count
    shared.tell("sync %d" % now_ms())
    for _ in range(_SYNC_TRIES):
        if state.sync_count != count:
            break
        libc.usleep(_SYNC_US)
    arm_sync()


def cancel(entry):
    if entry in _due:
        _due.remove(entry)


def check():
    """Bite if the watchdog is due, then run what is due."""
    global _running
    state = shared.S
    if state.wdt_ms and now_ms() > state.wdt_due_ms:
        libc.exit_now(layout.EXIT_WATCHDOG)
    if _running or not _due:
        return
    _running = True  # a callback that sleeps must not run the list again
    try:
        while _due and _due[0][0] <= now_ms():
            entry = _due.pop(0)
            entry[1](entry[2])
    finally:
        _running = False


def until_next(limit_ms):
    """How long until something is due, at most `limit_ms` (-1 = no limit; then -1 = never)."""
    if _running or not _due:
        return limit_ms
    left = max(0, _due[0][0] - now_ms())
    return left if limit_ms < 0 else min(left, limit_ms)


def sleep_ms(ms):
    """Wait with the CPU awake."""
    end = now_ms() + ms
    check()
    while True:
        left = end - now_ms()
        if left <= 0:
            return
        step = until_next(left)
        if shared.S.fast:
            shared.S.skip_ms += _before_watchdog(step)
        elif step:
            _host.sleep_ms(step)
        check()


def _before_watchdog(step):
    """A jump never passes the watchdog's deadline by more than the millisecond it bites in."""
    state = shared.S
    if not state.wdt_ms:
        return step
    return max(0, min(step, state.wdt_due_ms + 1 - now_ms()))


def world_ms():
    """The world's time, ms since 1970: what a correct clock would show."""
    return shared.wide("boot_world_ms") + now_ms()


def rtc_ms():
    """The chip's own clock, ms since 1970, wrong by what it was never told and by its drift."""
    elapsed = now_ms()
    elapsed += elapsed * shared.S.drift_ppm // 1000000
    return shared.wide("rtc_boot_ms") + shared.wide("rtc_set_ms") + elapsed


def jump(ms):
    """Fast mode's wait: `ms` pass at once, up to the watchdog's deadline."""
    shared.S.skip_ms += _before_watchdog(ms)
