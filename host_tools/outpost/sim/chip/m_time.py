"""`time` as a port on a chip has it: virtual, integers, the port's own epoch, 8-tuples."""

from . import civil, clock, power

_MASK = (1 << 30) - 1
_HALF = 1 << 29
_UNIX_AT_2000 = 946684800
_epoch_s = 0


def power_up():
    global _epoch_s
    _epoch_s = _UNIX_AT_2000 if power.board["epoch"] == 2000 else 0


def ticks_ms():
    clock.asked()
    clock.check()
    return clock.now_ms() & _MASK


def ticks_us():
    clock.asked()
    clock.check()
    return clock.now_us()


def ticks_cpu():
    return clock.now_us()


# No sum below leaves 31 bits: a large integer would allocate, and a chip's ticks do not.


def ticks_add(ticks, delta):
    if not -_HALF < delta < _HALF:
        raise OverflowError("ticks interval overflow")
    if delta < 0:
        return ticks + delta & _MASK
    return ticks - _MASK - 1 + delta & _MASK


def ticks_diff(end, start):
    diff = end - start
    if diff >= _HALF:
        return diff - _MASK - 1
    if diff < -_HALF:
        return diff + _MASK + 1
    return diff


def sleep_ms(ms):
    if ms > 0:
        clock.sleep_ms(ms)


def sleep(seconds):
    sleep_ms(int(seconds * 1000))


def sleep_us(us):
    if us >= 1000:
        clock.sleep_ms(us // 1000)


def time():
    return clock.rtc_ms() // 1000 - _epoch_s


def time_ns():
    return (clock.rtc_ms() - _epoch_s * 1000) * 1000000


def gmtime(seconds=None):
    if seconds is None:
        seconds = time()
    return civil.fields(int(seconds) + _epoch_s)


localtime = gmtime


def mktime(fields):
    return civil.seconds(*[int(field) for field in fields[:6]]) - _epoch_s
