"""A static web server in memory that answers real HTTP, honestly or not: for the updater's tests
on both interpreters.

`Server(resources)` serves {path: bytes}. `carry(fetch)` does what a driver does, through the
device's own HTTP client. Misbehaviour is set per path in `tricks`: {path: function(server,
request, body) -> bytes to send, or None for the honest answer}. `chunk` is how many bytes arrive
at a time; `cut_after` closes the link after so many bytes of body, once.
"""

from node.core.fetch import Exchange
from node.core.http import Http


class Server:
    def __init__(self, resources):
        self.resources = resources
        self.tricks = {}
        self.chunk = 1024
        self.cut_after = -1
        self.ranges = True
        self.requests = []
        self.sent = {}  # path -> [(start, end) of each run of bytes the device was given]
        self.wire = 0  # bytes in both directions
        self.now_ms = 0
        self.down = False
        self._http = None
        self._span = None
        self._running = False
        self._body_size = 0

    # --- the driver's part

    def hang_up(self):
        """The device at the other end has gone."""
        self._http = None

    def carry(self, fetch):
        """Carry out one Fetch over a simulated connection."""
        if self.down:
            fetch.code = "link"
            return
        if self._http is None or not self._http.reusable:
            self._http = Http()
        exchange = Exchange(self._http, fetch)
        request = self._http.output()
        answer = self.answer(request)
        self.wire += len(request) + len(answer)
        self._deliver(exchange, answer, len(answer) - self._body_size)

    def _deliver(self, exchange, answer, head_size):
        end = len(answer)
        if self.cut_after >= 0 and end > head_size + self.cut_after:
            end = head_size + self.cut_after
            self.cut_after = -1
        view = memoryview(answer)
        at = 0
        while at < end and not exchange.done:
            step = min(self.chunk, end - at)
            exchange.feed(view[at : at + step])
            exchange.tick(self.now_ms)
            at += step
            self._delivered(at - head_size)
        if not exchange.done:
            if end < len(answer):
                exchange.failed("link")
            else:
                exchange.eof()

    def _delivered(self, body_bytes):
        """Book what the device has really been given."""
        if body_bytes <= 0 or self._span is None:
            return
        path, start = self._span
        runs = self.sent.setdefault(path, [])
        if self._running:
            runs.pop()  # the same answer, some more of it
        self._running = True
        runs.append((start, start + body_bytes))

    # --- the server's part

    def answer(self, request):
        lines = request.decode().split("\r\n")
        path = lines[0].split(" ")[1]
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            fields[name.lower()] = value
        self.requests.append((path, fields.get("range")))
        body = self.resources.get(path)
        self._body_size = 0
        self._span = None
        self._running = False
        trick = self.tricks.get(path)
        if trick is not None:
            answer = trick(self, fields, body)
            if answer is not None:
                return answer
        if body is None:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        return self.honest(path, fields, body)

    def honest(self, path, fields, body):
        etag = f'"{len(body)}-{sum(body[-40:])}"'
        if fields.get("if-none-match") == etag:
            return b"HTTP/1.1 304 Not Modified\r\n\r\n"
        span = fields.get("range")
        if span and self.ranges:
            return self._partial(path, span[6:], body)
        self._span = (path, 0)
        self._body_size = len(body)
        head = "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nETag: {}\r\n\r\n"
        return head.format(len(body), etag).encode() + body

    def _partial(self, path, span, body):
        first, _, last = span.partition("-")
        first = int(first)
        last = min(int(last), len(body) - 1) if last else len(body) - 1
        if first >= len(body):
            text = "HTTP/1.1 416 R\r\nContent-Range: bytes */{}\r\nContent-Length: 0\r\n\r\n"
            return text.format(len(body)).encode()
        self._span = (path, first)
        self._body_size = last + 1 - first
        text = "HTTP/1.1 206 P\r\nContent-Range: bytes {}-{}/{}\r\nContent-Length: {}\r\n\r\n"
        head = text.format(first, last, len(body), self._body_size)
        return head.encode() + body[first : last + 1]

    # --- questions

    def refetched(self, path):
        """How many bytes of `path` were given to the device more than once."""
        total = sum([end - start for start, end in self.sent.get(path, ())])
        return max(0, total - len(self.resources[path]))
