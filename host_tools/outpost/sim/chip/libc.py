"""The C library through ffi: what MicroPython's unix port does not offer and a chip needs.

Nothing here allocates on the VM's heap when called (measured), so a block device built on it can
be called with the heap locked, as a C driver can.
"""

import ffi
import uctypes

_c = ffi.open("libc.so.6")

memcpy = _c.func("p", "memcpy", "ppi")
memcpy_out = memcpy
memcmp = _c.func("i", "memcmp", "ppi")
memmem = _c.func("p", "memmem", "pipi")
memset = _c.func("p", "memset", "pii")
exit_now = _c.func("v", "_exit", "i")
fork = _c.func("i", "fork", "")
waitpid = _c.func("i", "waitpid", "ipi")
getppid = _c.func("i", "getppid", "")
read = _c.func("i", "read", "ipi")
write = _c.func("i", "write", "ipi")
send = _c.func("i", "send", "ipii")
recv = _c.func("i", "recv", "ipii")
poll = _c.func("i", "poll", "pii")
dup = _c.func("i", "dup", "i")
dup2 = _c.func("i", "dup2", "ii")
close = _c.func("i", "close", "i")
shutdown = _c.func("i", "shutdown", "ii")
fcntl = _c.func("i", "fcntl", "iii")
setsockopt = _c.func("i", "setsockopt", "iiipi")
getsockopt = _c.func("i", "getsockopt", "iiipp")
getsockname = _c.func("i", "getsockname", "ipp")
socketpair = _c.func("i", "socketpair", "iiip")
usleep = _c.func("i", "usleep", "i")
_open = _c.func("i", "open", "sii")
_mmap = _c.func("p", "mmap", "piiiil")
_prctl = _c.func("i", "prctl", "iiiii")
_setitimer = _c.func("i", "setitimer", "ipp")
_errno_location = _c.func("p", "__errno_location", "")

_PR_SET_PDEATHSIG = 1
_SIGKILL = 9
_MAP_SHARED = 1
_MAP_PRIVATE_ANONYMOUS = 0x22
_PROT_READ_WRITE = 3
_LONG_BYTES = uctypes.sizeof({"x": uctypes.LONG})


def errno():
    return uctypes.bytearray_at(_errno_location(), 1)[0]


def map_file(path, size, hint):
    """Map `path` shared at `hint`: low, so that addresses are small integers on a 32-bit VM."""
    fd = _open(path, 2, 0)
    if fd < 0:
        raise OSError(errno())
    address = _mmap(hint, size, _PROT_READ_WRITE, _MAP_SHARED, fd, 0)
    close(fd)
    if address != hint:
        raise OSError(12)
    return address


def map_memory(size, hint):
    return _mmap(hint, size, _PROT_READ_WRITE, _MAP_PRIVATE_ANONYMOUS, -1, 0)


def die_with_parent():
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)


_timer = bytearray(4 * _LONG_BYTES)


def alarm_ms(timeout_ms):
    """SIGALRM, and with it the end of this process, after `timeout_ms`; 0 disarms."""
    seconds = timeout_ms // 1000
    micros = timeout_ms % 1000 * 1000
    for index in range(_LONG_BYTES):
        _timer[2 * _LONG_BYTES + index] = seconds >> 8 * index & 0xFF if index < 4 else 0
        _timer[3 * _LONG_BYTES + index] = micros >> 8 * index & 0xFF if index < 4 else 0
    _setitimer(0, _timer, None)


O_NONBLOCK = 0x800
MSG_DONTWAIT = 0x40
MSG_NOSIGNAL = 0x4000
F_SETFL = 4
