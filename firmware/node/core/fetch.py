"""One GET of one resource, or of a range of it: what the updater asks for, and how an HTTP
connection answers it.

`Exchange` joins a Fetch to an `http.Http`: the driver moves bytes between it and a socket and
knows nothing of HTTP.

    exchange = Exchange(http, fetch)        the request is then in http.output()
    exchange.feed(view) / .eof() / .failed(code)      until `done`
    exchange.tick(now_ms)                   -> when to call again at the latest
"""

from micropython import const
from node.core import http
from node.core.http import Http
from node.core.url import HttpError, split_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

BLOCK = const(4096)  # bytes asked for at a time, and then flushed: all a cut can cost twice


class Fetch:
    """A GET to be carried out: bytes [start, end) of `url` (all of it when `end` is -1), at most
    `limit` of them.

    Results: `status` (0: no answer), `received` bytes given to `sink(view)`, `total` size of the
    resource or -1, `code` when it did not end well ("link" or one of http's), `etag`, `location`,
    `html`. `sink` gets the resource's bytes from `start` on, for 200 and 206 only, and never HTML:
    that is a captive portal's.
    """

    def __init__(self, start: int, end: int, limit: int) -> None:
        self.url = ""
        self.start = start
        self.end = end
        self.limit = limit
        self.sink: "Callable[[Any], Any] | None" = None
        self.if_etag = ""
        self.reset()

    def reset(self) -> None:
        """Forget the results."""
        self.status = 0
        self.received = 0
        self.total = -1
        self.code = ""
        self.etag = ""
        self.location = ""
        self.html = False


class Exchange:
    """One Fetch on one connection."""

    def __init__(self, connection: Http, fetch: Fetch) -> None:
        self._http = connection
        self._fetch = fetch
        self._skip = 0
        self.done = False
        _, host, _, path = split_url(fetch.url)
        if named_port(fetch.url):
            host += ":%d" % named_port(fetch.url)
        connection.request(host, path, fetch.start, fetch.end, fetch.if_etag)
        connection.limit(fetch.limit)

    def feed(self, view: "Any") -> None:
        try:
            self._http.feed(view)
            self._events()
        except HttpError as error:
            self.failed(error.code)

    def eof(self) -> None:
        if self.done:
            return
        try:
            self._http.eof()
            self._events()
        except HttpError as error:
            self.failed(error.code)

    def failed(self, code: str) -> None:
        """The connection is gone, or must go."""
        self._http.reusable = False
        if not self.done:
            self._fetch.code = code
            self.done = True

    def tick(self, now_ms: int) -> int:
        try:
            return self._http.tick(now_ms)
        except HttpError as error:
            self.failed(error.code)
            return now_ms

    def _events(self) -> None:
        while True:
            event = self._http.next_event()
            if event == http.NEED:
                return
            if event == http.HEAD:
                self._head()
            elif event == http.DATA:
                self._data(self._http.data)
            else:
                self.done = True
                return

    def _head(self) -> None:
        source, fetch = self._http, self._fetch
        fetch.status = source.status
        fetch.total = source.total
        fetch.etag = source.etag
        fetch.location = source.location
        fetch.html = source.html
        if fetch.status in (200, 206) and fetch.total > fetch.limit:
            raise HttpError("http-body")
        # a server without ranges sends everything: what is already there is passed over
        self._skip = fetch.start if fetch.status == 200 else 0

    def _data(self, view: "Any") -> None:
        fetch = self._fetch
        if fetch.status not in (200, 206) or fetch.html:
            return
        if self._skip:
            cut = min(self._skip, len(view))
            self._skip -= cut
            view = view[cut:]
        if len(view):
            fetch.received += len(view)
            if fetch.start + fetch.received > fetch.limit:  # in ranges of unknown total, say
                raise HttpError("http-body")
            if fetch.sink is not None:
                fetch.sink(view)


def named_port(url: str) -> int:
    """The port a Host field has to name: 0 when it is the scheme's own."""
    tls, _, port, _ = split_url(url)
    return 0 if port == (443 if tls else 80) else port
