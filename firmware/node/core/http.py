"""An HTTP/1.1 client for a device (RFC 9112), as a sans-I/O machine: the updater and the
captive-portal probe use it.

    request(...)            queue a GET; output() gives the bytes to send, once feed(view)
    bytes that arrived; they must stay unchanged until next_event() says NEED eof()
    the peer closed next_event()            NEED, HEAD (status and fields are known), DATA (`data`
    is a view of what was fed), DONE tick(now_ms)            raises when the peer is too slow;
    returns when to be called again at the latest

Owns the framing and nothing else. Invariants: nothing is buffered but the one header line being
read (_LINE_BYTES); the header block, each body and every wait have a limit; the body is never
copied; what the peer says about a range is compared with what was asked, so a DATA view always
starts at the offset the caller believes. Everything wrong with the peer raises HttpError with a
stable code; after that the connection is good for nothing but close().

Codes: http-syntax (not HTTP, or contradictory framing), http-header (header block or a needed
field too long), http-body (longer than asked for), http-range (not the range that was asked for),
http-short (closed before the end), http-extra (bytes nobody asked for), http-idle (nothing for a
while), http-slow (too little for too long).
"""

from micropython import const
from node.core.url import HttpError, is_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview

# Events
NEED = const(0)
HEAD = const(1)
DATA = const(2)
DONE = const(3)

_LINE_BYTES = const(320)  # a longer line is cut; cutting one of the fields used here is an error
_HEADER_BYTES = const(8192)  # of one response, 1xx responses before it included
_NO_LIMIT = const(0x3FFFFFFF)
_IDLE_MS = const(15000)  # nothing at all for that long
_WINDOW_MS = const(20000)  # in each of these ...
_WINDOW_BYTES = const(1024)  # ... at least that much

# States
_S_IDLE = const(0)
_S_STATUS = const(1)
_S_FIELD = const(2)
_S_BODY = const(3)
_S_TO_CLOSE = const(4)
_S_CHUNK_SIZE = const(5)
_S_CHUNK = const(6)
_S_CHUNK_END = const(7)
_S_TRAILER = const(8)
_S_DONE = const(9)
_LINE_STATES = (_S_STATUS, _S_FIELD, _S_CHUNK_SIZE, _S_CHUNK_END, _S_TRAILER)


class Http:
    """One connection. Make a new one for each socket; `reusable` says whether this one can take
    another request.
    """

    def __init__(self) -> None:
        self._line = bytearray(_LINE_BYTES)
        self._line_len = 0
        self._state = _S_IDLE
        self._out: "bytes | None" = None
        self._fed = memoryview(b"")
        self._announced = False
        self.reusable = True
        self.data = memoryview(b"")
        self.received = 0  # body bytes of this response
        self._clear(0, -1, _NO_LIMIT)

    def _clear(self, start: int, end: int, max_body: int) -> None:
        self.status = 0
        self.total = -1  # size of the whole resource, when the peer says so
        self.start = 0  # offset of the first byte of this body in the resource
        self.html = False
        self.etag = ""
        self.location = ""
        self.received = 0
        self._asked = (start, end)
        self._max_body = max_body
        self._left = -1  # body bytes still expected; -1 unknown
        self._chunked = False
        self._header_left = _HEADER_BYTES
        self._announced = False
        self._active_ms = -1
        self._window_ms = -1
        self._window_bytes = 0

    # --- out

    def request(self, host: str, path: str, start: int = 0, end: int = -1, etag: str = "") -> None:
        """Queue a GET for bytes [start, end) of `path`; all of it when `end` is -1 and `start`
        0.
        """
        if (
            self._state not in (_S_IDLE, _S_DONE)
            or not self.reusable
            or not is_plain(host + path + etag)
        ):
            raise ValueError("http request")
        text = "GET %s HTTP/1.1\r\nHost: %s\r\n" % (path, host)
        if end >= 0 or start:
            text += "Range: bytes=%d-%s\r\n" % (start, str(end - 1) if end >= 0 else "")
        if etag:
            text += "If-None-Match: %s\r\n" % etag
        self._out = (text + "\r\n").encode()
        self._clear(start, end, _NO_LIMIT)
        self._state = _S_STATUS

    def limit(self, max_body: int) -> None:
        """The longest body the caller will take, for a response without a better bound."""
        self._max_body = max_body

    def output(self) -> "bytes | None":
        """Bytes to send, or None."""
        out = self._out
        self._out = None
        return out

    # --- in

    def feed(self, view: "Buffer") -> None:
        if len(self._fed):
            raise ValueError("http feed")
        self._fed = memoryview(view)
        self._window_bytes += len(view)
        self._active_ms = -1

    def eof(self) -> None:
        """The peer closed its side. Raises http-short when something is missing."""
        self.reusable = False
        if self._state == _S_TO_CLOSE:
            self._state = _S_DONE
        elif self._state not in (_S_IDLE, _S_DONE):
            raise HttpError("http-short")

    def next_event(self) -> int:
        while True:
            if self._state == _S_DONE and self._announced:
                self._announced = False
                self._after_done()
                return DONE
            if not len(self._fed):
                return NEED
            if self._state in _LINE_STATES:
                if self._read_line() and self._take_line():
                    return HEAD
            elif self._state in (_S_BODY, _S_CHUNK, _S_TO_CLOSE):
                return self._take_body()
            else:
                raise HttpError("http-extra")

    def tick(self, now_ms: int) -> int:
        """Check the peer's pace; the deadline of the next check. Raises http-idle, http-slow."""
        if self._state in (_S_IDLE, _S_DONE):
            return now_ms + _IDLE_MS
        if self._active_ms < 0:
            self._active_ms = now_ms
        if self._window_ms < 0:
            self._window_ms = now_ms
        if now_ms - self._active_ms >= _IDLE_MS:
            raise HttpError("http-idle")
        if now_ms - self._window_ms >= _WINDOW_MS:
            if self._window_bytes < _WINDOW_BYTES:
                raise HttpError("http-slow")
            self._window_ms = now_ms
            self._window_bytes = 0
        return min(self._active_ms + _IDLE_MS, self._window_ms + _WINDOW_MS)

    # --- lines

    def _read_line(self) -> bool:
        """Move bytes into the line buffer; True when the line is complete (without its end)."""
        fed = self._fed
        size = len(fed)
        for i in range(size):
            byte = fed[i]
            self._header_left -= 1
            if self._header_left < 0:
                raise HttpError("http-header")
            if byte == 10:
                self._fed = fed[i + 1 :]
                return True
            if self._line_len < _LINE_BYTES:
                self._line[self._line_len] = byte
            self._line_len += 1
        self._fed = fed[size:]
        return False

    def _take_line(self) -> bool:
        """Interpret the complete line; True when the header block is at its end and the body
        follows.
        """
        size = self._line_len
        self._line_len = 0
        cut = size > _LINE_BYTES
        line = bytes(self._line[: min(size, _LINE_BYTES)]).rstrip(b"\r")
        if self._state == _S_STATUS:
            self._status_line(line)
        elif self._state == _S_FIELD:
            if not line:
                return self._header_done()
            self._field(line, cut)
        elif self._state == _S_CHUNK_SIZE:
            self._chunk_size(line)
        elif self._state == _S_CHUNK_END:
            if line:
                raise HttpError("http-syntax")
            self._header_left = _HEADER_BYTES
            self._state = _S_CHUNK_SIZE
        elif not line:  # trailers are read over
            self._finish()
        return False

    def _status_line(self, line: bytes) -> None:
        if line[:7] != b"HTTP/1." or line[8:9] != b" " or not line[9:12].isdigit():
            raise HttpError("http-syntax")
        if line[7:8] == b"0":
            self.reusable = False
        self.status = int(line[9:12])
        self._state = _S_FIELD

    def _field(self, line: bytes, cut: bool) -> None:
        colon = line.find(b":")
        if colon < 1:
            raise HttpError("http-syntax")
        name = line[:colon].lower()
        if name not in _FIELDS:
            return
        if cut:
            raise HttpError("http-header")
        try:
            value = str(line[colon + 1 :], "utf-8").strip()
        except UnicodeError:
            raise HttpError("http-syntax")
        if name == b"content-length":
            self._content_length(value)
        elif name == b"content-range":
            self._content_range(value)
        elif name == b"transfer-encoding":
            if value.lower() != "chunked":
                raise HttpError("http-syntax")
            self._chunked = True
        elif name == b"connection":
            if "close" in value.lower():
                self.reusable = False
        elif name == b"content-type":
            self.html = value.lower().startswith("text/html")
        elif name == b"etag":
            self.etag = value
        else:
            self.location = value

    def _content_length(self, value: str) -> None:
        length = _number(value)
        if self._left >= 0 and self._left != length:
            raise HttpError("http-syntax")
        self._left = length

    def _content_range(self, value: str) -> None:
        """bytes 0-4095/12345 (RFC 9110 section 14.4); kept for _header_done, as the status decides
        what it means.
        """
        unit, _, rest = value.partition(" ")
        span, _, total = rest.partition("/")
        if unit != "bytes":
            raise HttpError("http-range")
        self.total = -1 if total == "*" else _number(total)
        if span != "*":
            first, _, last = span.partition("-")
            self.start = _number(first)
            self._range_end = _number(last) + 1
        else:
            self.start = self._range_end = -1

    def _header_done(self) -> bool:
        if self.status < 200:  # 100 Continue, 103 Early Hints: the real response follows
            if self.status == 101:
                raise HttpError("http-syntax")
            self._state = _S_STATUS
            return False
        if self._chunked and self._left >= 0:
            raise HttpError(
                "http-syntax"
            )  # RFC 9112 section 6.1: request smuggling, or a broken proxy
        if self.status == 206:
            self._check_range()
        elif self.status != 416:
            self.start = 0
            self.total = self._left
        if self.status in (204, 304):
            self._left = 0
            self._chunked = False
        self._begin_body()
        return True

    def _check_range(self) -> None:
        """A 206 is believed only when it is the range asked for, or a shorter one from the same
        start.
        """
        start, end = self._asked
        size = self._range_end - self.start if self.start >= 0 else -1
        if (
            (start == 0 and end < 0)
            or self.start != start
            or size <= 0
            or (0 <= end < self._range_end)
            or 0 <= self.total < self._range_end
            or (self._left >= 0 and self._left != size)
        ):
            raise HttpError("http-range")
        if self._max_body > size:
            self._max_body = size
        if not self._chunked:
            self._left = size

    _range_end = -1

    # --- body

    def _begin_body(self) -> None:
        if self._left > self._max_body:
            raise HttpError("http-body")
        if self._chunked:
            self._header_left = _HEADER_BYTES
            self._state = _S_CHUNK_SIZE
        elif self._left < 0:
            self.reusable = False
            self._state = _S_TO_CLOSE
            self._announced = True
        elif self._left == 0:
            self._finish()
        else:
            self._state = _S_BODY

    def _chunk_size(self, line: bytes) -> None:
        digits = line.partition(b";")[0].strip()
        if not 0 < len(digits) <= 7:
            raise HttpError("http-syntax")
        try:
            size = int(digits, 16)
        except ValueError:
            raise HttpError("http-syntax")
        if size < 0 or digits[:1] in b"+-":
            raise HttpError("http-syntax")
        self._left = size
        self._state = _S_CHUNK if size else _S_TRAILER

    def _take_body(self) -> int:
        fed = self._fed
        size = len(fed)
        if self._state != _S_TO_CLOSE and size > self._left:
            size = self._left
        self.received += size
        if self.received > self._max_body:
            raise HttpError("http-body")
        self.data = fed[:size]
        self._fed = fed[size:]
        if self._state != _S_TO_CLOSE:
            self._left -= size
            if self._left == 0:
                if self._state == _S_BODY:
                    self._finish()
                else:
                    self._state = _S_CHUNK_END
        return DATA

    def _finish(self) -> None:
        self._state = _S_DONE
        self._announced = True

    def _after_done(self) -> None:
        start, end = self._asked
        if self.status == 206 and self.start + self.received != self._range_end:
            raise HttpError("http-short")
        if len(self._fed):
            raise HttpError("http-extra")


_FIELDS = (
    b"content-length",
    b"content-range",
    b"transfer-encoding",
    b"connection",
    b"content-type",
    b"etag",
    b"location",
)


def _number(text: str) -> int:
    """A decimal that fits a small int; a peer's number is never trusted to be one."""
    if not 0 < len(text) <= 9 or not text.isdigit():
        raise HttpError("http-syntax")
    return int(text)
