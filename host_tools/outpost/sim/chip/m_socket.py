"""`socket` as lwIP's ports have it: addresses are tuples, TCP_NODELAY exists, the link can fail.

Data moves through the host's sockets by ffi without allocating, so "nothing is allocated per
publish" can be measured through here.  Descriptors are always non-blocking on the host; blocking
is done by `waiting`, on virtual time, where the watchdog and the radio keep running.
"""

import io
import socket as _host

from . import clock, libc, names, ntp, power, radio, shared, waiting, world
from .m_errno import native

AF_INET = 2
AF_INET6 = 10
SOCK_STREAM = 1
SOCK_DGRAM = 2
SOCK_RAW = 3
IPPROTO_IP = 0
IPPROTO_TCP = 6
IPPROTO_UDP = 17
SOL_SOCKET = 0xFFF
SO_REUSEADDR = 4
SO_BROADCAST = 0x20
SO_KEEPALIVE = 8
SO_BINDTODEVICE = 11
TCP_NODELAY = 1
_EAGAIN, _EINTR, _EBADF, _EINPROGRESS, _ETIMEDOUT, _EHOSTUNREACH = 11, 4, 9, 115, 110, 113
_ENFILE = 23
_MAX_OPEN = 10  # CONFIG_LWIP_MAX_SOCKETS
_CONNECT_MS = 18000  # lwIP gives up after its SYN retries
_FRAME_BYTES = 80  # Wi-Fi, IP and TCP headers around each write
_ADDRESS = 32


def getaddrinfo(host, port, af=0, type=0, proto=0, flags=0):
    radio.update()
    mapped = power.board["hosts"].get(host, host)
    if ":" in mapped:
        mapped, mapped_port = mapped.rsplit(":", 1)
        port = int(mapped_port)
    if not _is_numeric(host) and not (radio.carries() and _resolver_answers()):
        clock.sleep_ms(5000 if radio.state == radio.JOINED else 0)  # lwIP's own retries, blocking
        raise OSError(-202 if power.board["port"] == "esp32" else -2)
    if ntp.serves(port):
        mapped = mapped if _is_numeric(mapped) else "192.0.2.123"
    found = _host.getaddrinfo(mapped, port)
    address = _host.sockaddr(found[0][4])
    text = _host.inet_ntop(_host.AF_INET, address[1])
    return [(AF_INET, type or SOCK_STREAM, proto, "", (text, port))]


def _resolver_answers():
    return world.get("dns.up", 1)


def _is_numeric(host):
    parts = host.split(".")
    return len(parts) == 4 and all(part.isdigit() for part in parts)


def _host_address(address):
    return _host.getaddrinfo(address[0], address[1])[0][4]


class socket(io.IOBase):
    def __init__(self, af=AF_INET, type=SOCK_STREAM, proto=0, _accepted=None):
        if len(radio.holes.fds) >= _MAX_OPEN:
            raise OSError(_ENFILE)
        self._type = type
        self._host = _accepted or _host.socket(_host.AF_INET, type)
        self._fd = self._host.fileno()
        self._timeout_ms = -1
        self._packets = None  # answers of the simulated time server
        self.ballast = None  # what TLS on this socket holds of the heap
        self._host.setblocking(False)
        radio.holes.add(self._fd)

    # -- connections ----------------------------------------------------------------------------

    def connect(self, address):
        self._open()
        radio.update()
        if radio.state != radio.JOINED:
            raise OSError(native(_EHOSTUNREACH))
        if not radio.carries():  # a SYN into the void
            return self._pending_connect()
        try:
            self._host.connect(_host_address(address))
        except OSError as error:
            if error.errno != _EINPROGRESS:
                raise OSError(native(error.errno))
            self._pending_connect()

    def _pending_connect(self):
        waiting.asked(not radio.holes.dark)
        if self._timeout_ms == 0:
            raise OSError(native(_EINPROGRESS))
        limit = _CONNECT_MS if self._timeout_ms < 0 else self._timeout_ms
        if not radio.carries() or not waiting.until_ready(self._fd, waiting.OUT, limit):
            if not radio.carries():
                clock.sleep_ms(limit)
            raise OSError(native(_ETIMEDOUT))
        failed = _socket_error(self._fd)
        if failed:
            raise OSError(native(failed))

    def bind(self, address):
        self._host.bind(_host_address((address[0] or "0.0.0.0", address[1])))

    def listen(self, backlog=2):
        self._host.listen(backlog)

    def accept(self):
        while True:
            try:
                peer, address = self._host.accept()
                found = _host.sockaddr(address)
                text = _host.inet_ntop(_host.AF_INET, found[1])
                return socket(_accepted=peer), (text, found[2])
            except OSError as error:
                self._wait_or_raise(error.errno, waiting.IN)

    def close(self):
        if self._fd >= 0:
            radio.holes.drop(self._fd)
            self._host.close()
            self._fd = -1
            self.ballast = None
            waiting.closed()

    def fileno(self):
        return self._fd

    def setblocking(self, flag):
        self._timeout_ms = -1 if flag else 0

    def settimeout(self, seconds):
        self._timeout_ms = -1 if seconds is None else int(seconds * 1000)

    def setsockopt(self, level, option, value):
        if level == IPPROTO_TCP and option == TCP_NODELAY:
            libc.setsockopt(self._fd, 6, 1, int(value).to_bytes(4, "little"), 4)
        elif level == SOL_SOCKET and option == SO_REUSEADDR:
            libc.setsockopt(self._fd, 1, 2, int(value).to_bytes(4, "little"), 4)

    def makefile(self, *_):
        return self

    # -- streams --------------------------------------------------------------------------------

    def recv(self, size):
        buf = bytearray(size)
        got = self._receive(buf, size)
        return bytes(buf[:got]) if got < size else bytes(buf)

    def recv_into(self, buf, size=0):
        return self._receive(buf, size or len(buf))

    def send(self, data):
        return self._send(data, len(data))

    def sendall(self, data):
        view = memoryview(data)
        while len(view):
            view = view[self._send(view, len(view)) :]

    def read(self, size=-1):
        if size < 0:
            return self._read_all()
        buf = bytearray(size)
        got = self.readinto(buf)
        return None if got is None else bytes(buf[:got])

    def readinto(self, buf, size=-1):
        """As a C stream: blocking fills the buffer, non-blocking takes what there is."""
        self._open()
        want = len(buf) if size < 0 else min(size, len(buf))
        done = libc.recv(self._fd, buf, want, libc.MSG_DONTWAIT)
        if done < 0:
            number = libc.errno()
            if number != _EAGAIN and number != _EINTR:
                raise OSError(native(number))
            if self._timeout_ms == 0:
                return None
            done = self._receive(buf, want)
        self._heard(done)
        if self._timeout_ms == 0 or done in (0, want):
            return done
        view = memoryview(buf)
        while done < want:
            got = self._receive(view[done:want], want - done)
            if not got:
                break
            done += got
        return done

    def readline(self):
        line = bytearray()
        while not line.endswith(b"\n"):
            byte = self.read(1)
            if not byte:
                break
            line.extend(byte)
        return bytes(line)

    def write(self, buf, off=None, size=None):
        self._open()
        if off is not None:
            buf = memoryview(buf)[off : off + size] if size is not None else memoryview(buf)[:off]
        want = len(buf)
        done = libc.send(self._fd, buf, want, libc.MSG_NOSIGNAL)
        if done < 0:
            number = libc.errno()
            if number != _EAGAIN and number != _EINTR:
                raise OSError(native(number))
            if self._timeout_ms == 0:
                return None
            done = 0
        self._said(done)
        if self._timeout_ms == 0 or done == want:
            return done
        view = memoryview(buf)
        while done < want:
            done += self._send(view[done:], want - done)
        return done

    def ioctl(self, request, argument):
        if request == 3:  # MP_STREAM_POLL
            if self._packets:
                return argument & waiting.IN | argument & waiting.OUT
            return waiting.ready(self._fd, argument, 0)
        if request == 4:
            self.close()
            return 0
        if request == 10 and not self._packets:  # MP_STREAM_GET_FILENO
            return self._fd
        return -22

    # -- datagrams ------------------------------------------------------------------------------

    def sendto(self, data, address):
        self._open()
        radio.update()
        self._said(len(data))
        if not radio.carries():
            return len(data)
        if ntp.serves(address[1]):
            self._packets = [(ntp.answer(data), address)]
            return len(data)
        if names.serves(address):
            reply = names.answer(bytes(data))
            self._packets = [(reply, address)] if reply else None
            return len(data)
        return self._host.sendto(data, _host_address(address))

    def recvfrom(self, size):
        if self._packets:
            data, address = self._packets.pop()
            clock.skip(30)
            return data[:size], address
        while True:
            try:
                data, address = self._host.recvfrom(size)
                found = _host.sockaddr(address)
                self._heard(len(data))
                return data, (_host.inet_ntop(_host.AF_INET, found[1]), found[2])
            except OSError as error:
                self._wait_or_raise(error.errno, waiting.IN)

    # -- inside ---------------------------------------------------------------------------------

    def _open(self):
        if self._fd < 0:
            raise OSError(_EBADF)

    def _receive(self, buf, size):
        if self._packets:
            data = self._packets.pop()[0]
            buf[: len(data)] = data
            return len(data)
        self._open()
        while True:
            got = libc.recv(self._fd, buf, size, libc.MSG_DONTWAIT)
            if got >= 0:
                self._heard(got)
                return got
            self._wait_or_raise(libc.errno(), waiting.IN)

    def _send(self, buf, size):
        self._open()
        while True:
            done = libc.send(self._fd, buf, size, libc.MSG_NOSIGNAL)
            if done >= 0:
                self._said(done)
                return done
            self._wait_or_raise(libc.errno(), waiting.OUT)

    def _wait_or_raise(self, number, events):
        if number != _EAGAIN and number != _EINTR:
            raise OSError(native(number))
        if self._timeout_ms == 0:
            raise OSError(_EAGAIN)
        if not waiting.until_ready(self._fd, events, self._timeout_ms):
            raise OSError(native(_ETIMEDOUT))

    def _read_all(self):
        out = bytearray()
        while True:
            piece = self.recv(512)
            if not piece:
                return bytes(out)
            out.extend(piece)

    def _heard(self, size):
        waiting.moved()
        state = shared.S
        state.rx_bytes += size
        state.rx_us += (size + _FRAME_BYTES) * 8000 // power.board["radio"]["phy_kbit_s"]

    def _said(self, size):
        waiting.asked(self._type == SOCK_STREAM and not radio.holes.dark)
        state = shared.S
        state.tx_bytes += size
        state.tx_us += (size + _FRAME_BYTES) * 8000 // power.board["radio"]["phy_kbit_s"]


def _socket_error(fd):
    value = bytearray(4)
    libc.getsockopt(fd, 1, 4, value, b"\x04\0\0\0")  # SOL_SOCKET, SO_ERROR
    return value[0]
