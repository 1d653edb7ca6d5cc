"""HTTP client: every split of every response, and servers that lie."""

import unittest

from node.core import http
from node.core.http import Http
from node.core.url import HttpError, join_url, split_url

_OK = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "x"\r\n\r\nhello'
_TE = b"Transfer-Encoding: chunked\r\n\r\n"
_CHUNKED = b"HTTP/1.1 200 OK\r\n" + _TE + b"3\r\nhel\r\n2;ext=1\r\nlo\r\n0\r\nTrailer: t\r\n\r\n"
_RANGE = b"HTTP/1.1 206 P\r\nContent-Range: bytes 10-14/99\r\nContent-Length: 5\r\n\r\nhello"
_EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + _OK
_ANSWERS = ((_OK, 0, -1), (_CHUNKED, 0, -1), (_RANGE, 10, 15), (_EARLY, 0, -1))


def _drain(client, out):
    while True:
        event = client.next_event()
        if event == http.NEED:
            return False
        if event == http.DATA:
            out.extend(client.data)
        elif event == http.DONE:
            return True


def _talk(parts, start=0, end=-1, limit=None, close=False):
    """Feed the parts; (client, body, done)."""
    client = Http()
    client.request("h", "/p", start, end)
    if limit is not None:
        client.limit(limit)
    out = bytearray()
    done = False
    for part in parts:
        if part:
            client.feed(part)
            done = _drain(client, out) or done
    if close:
        client.eof()
        done = _drain(client, out) or done
    return client, bytes(out), done


class TestRequest(unittest.TestCase):
    def _request(self, *args):
        client = Http()
        client.request("host:81", "/a/b", *args)
        return client.output()

    def test_plain(self):
        self.assertEqual(self._request(), b"GET /a/b HTTP/1.1\r\nHost: host:81\r\n\r\n")

    def test_range_and_etag(self):
        text = self._request(4096, 8192, '"e"')
        self.assertIn(b"\r\nRange: bytes=4096-8191\r\n", text)
        self.assertIn(b'\r\nIf-None-Match: "e"\r\n', text)
        self.assertIn(b"\r\nRange: bytes=7-\r\n", self._request(7))

    def test_output_is_given_once(self):
        client = Http()
        client.request("h", "/")
        self.assertIsNotNone(client.output())
        self.assertIsNone(client.output())

    def test_nothing_can_be_injected(self):
        for bad in ("/a b", "/a\r\nX: y", "/\u00e9", "/\x7f"):
            with self.assertRaises(ValueError):
                Http().request("h", bad)

    def test_one_at_a_time(self):
        client = Http()
        client.request("h", "/")
        with self.assertRaises(ValueError):
            client.request("h", "/")


class TestDamage(unittest.TestCase):
    """Bytes flipped, prefixes: an HttpError with a code or a bounded body, nothing else."""

    def _bounded(self, wire, start, end):
        try:
            _, body, _ = _talk((wire,), start, end, 64, True)
        except HttpError as error:
            self.assertTrue(error.code)
            return
        self.assertTrue(len(body) <= 64)

    def test_every_byte_flipped(self):
        for wire, start, end in (
            (_OK, 0, -1),
            (_CHUNKED, 0, -1),
            (_RANGE, 10, 15),
            (_EARLY, 0, -1),
        ):
            for i in range(len(wire)):
                for bits in (1, 0x10, 0x80, 0xFF):
                    damaged = bytearray(wire)
                    damaged[i] ^= bits
                    self._bounded(bytes(damaged), start, end)

    def test_every_prefix(self):
        for wire, start, end in (
            (_OK, 0, -1),
            (_CHUNKED, 0, -1),
            (_RANGE, 10, 15),
            (_EARLY, 0, -1),
        ):
            for i in range(len(wire)):
                with self.assertRaises(HttpError):
                    _talk((wire[:i],), start, end, 64, True)


class TestSplits(unittest.TestCase):
    def _every_split(self, wire, start=0, end=-1, close=False):
        for i in range(len(wire) + 1):
            client, body, done = _talk((wire[:i], wire[i:]), start, end, None, close)
            self.assertEqual((body, done), (b"hello", True))
        one_by_one = [wire[i : i + 1] for i in range(len(wire))]
        client, body, done = _talk(one_by_one, start, end, None, close)
        self.assertEqual((body, done), (b"hello", True))
        return client

    def test_length(self):
        client = self._every_split(_OK)
        self.assertEqual((client.status, client.total, client.etag), (200, 5, '"x"'))
        self.assertTrue(client.reusable)

    def test_chunked(self):
        client = self._every_split(_CHUNKED)
        self.assertTrue(client.reusable)

    def test_range(self):
        client = self._every_split(_RANGE, 10, 15)
        self.assertEqual((client.start, client.total), (10, 99))

    def test_interim_responses(self):
        self.assertEqual(self._every_split(_EARLY).status, 200)

    def test_until_close(self):
        client = self._every_split(b"HTTP/1.0 200 OK\r\n\r\nhello", 0, -1, True)
        self.assertFalse(client.reusable)

    def test_bare_newlines(self):
        self._every_split(b"HTTP/1.1 200\nContent-Length: 5\n\nhello".replace(b"200\n", b"200 \n"))


class TestKeepAlive(unittest.TestCase):
    def test_second_request(self):
        client, _, _ = _talk((_OK,))
        client.request("h", "/2", 10, 15)
        client.feed(_RANGE)
        out = bytearray()
        self.assertTrue(_drain(client, out))
        self.assertEqual(bytes(out), b"hello")

    def test_connection_close(self):
        client, _, _ = _talk((_OK.replace(b"ETag", b"Connection: close\r\nETag"),))
        self.assertFalse(client.reusable)

    def test_no_body(self):
        for status in (b"204 No", b"304 Not"):
            client, body, done = _talk((b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n\r\n",))
            self.assertEqual((body, done), (b"", True))

    def test_what_nobody_asked_for(self):
        self._code("http-extra", (_OK + b"more",))
        client, _, _ = _talk((_OK,))
        client.feed(b"more")
        with self.assertRaises(HttpError):
            client.next_event()

    def _code(self, code, parts, start=0, end=-1, limit=None, close=False):
        try:
            _talk(parts, start, end, limit, close)
        except HttpError as error:
            self.assertEqual(error.code, code)
            return
        self.assertEqual("no error", code)

    def test_not_http(self):
        for wire in (
            b"SSH-2.0\r\n",
            b"HTTP/2 200\r\n",
            b"HTTP/1.1 2x0 \r\n",
            b"HTTP/1.1 200 \r\nnocolon\r\n",
        ):
            self._code("http-syntax", (wire,))

    def test_contradictory_framing(self):
        for fields in (
            b"Content-Length: 5\r\nContent-Length: 6\r\n",
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: gzip\r\n",
            b"Content-Length: -5\r\n",
            b"Content-Length: 99999999999\r\n",
            b"Content-Length: 0x5\r\n",
        ):
            self._code("http-syntax", (b"HTTP/1.1 200 OK\r\n" + fields + b"\r\nhello",))

    def test_chunk_sizes(self):
        for size in (b"", b"-1", b"+5", b"zz", b"fffffffff", b"5 5"):
            self._code(
                "http-syntax",
                (
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + size
                    + b"\r\nhello\r\n",
                ),
            )
        self._code("http-syntax", (_CHUNKED.replace(b"hel\r\n", b"hello\r\n"),))

    def test_endless_header(self):
        self._code("http-header", (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 2000,))
        self._code("http-header", (b"HTTP/1.1 200 " + b"x" * 9000,))
        self._code("http-header", (b"HTTP/1.1 100 \r\n\r\n" * 1000,))

    def test_long_field_that_does_not_matter(self):
        _, body, done = _talk((_OK.replace(b"ETag", b"Set-Cookie: " + b"c" * 2000 + b"\r\nETag"),))
        self.assertEqual((body, done), (b"hello", True))

    def test_long_field_that_matters(self):
        self._code("http-header", (_OK.replace(b'"x"', b"e" * 2000),))

    def test_endless_body(self):
        head = b"HTTP/1.1 200 OK\r\n"
        self._code("http-body", (head + b"Content-Length: 11\r\n\r\n",), 0, -1, 10)
        self._code("http-body", (head + b"\r\n" + b"x" * 11,), 0, -1, 10)
        self._code(
            "http-body",
            (head + b"Transfer-Encoding: chunked\r\n\r\nb\r\n" + b"x" * 11,),
            0,
            -1,
            10,
        )

    def test_truncated(self):
        for cut in range(1, len(_OK)):
            self._code("http-short", (_OK[:cut],), 0, -1, None, True)
        for cut in range(1, len(_CHUNKED)):
            self._code("http-short", (_CHUNKED[:cut],), 0, -1, None, True)
        self._code("http-short", (), 0, -1, None, True)

    def test_lying_ranges(self):
        for span in (
            b"bytes 11-15/99",  # starts elsewhere
            b"bytes 10-15/99",  # longer than asked for
            b"bytes 10-14/12",  # ends after the end
            b"bytes 14-10/99",
            b"bytes */99",
            b"lines 10-14/99",
            b"bytes 10-13/99",  # does not match the length
        ):
            self._code("http-range", (_RANGE.replace(b"bytes 10-14/99", span),), 10, 15)
        self._code("http-range", (_RANGE,))  # not asked for
        self._code("http-syntax", (_RANGE.replace(b"10-14", b"1o-14"),), 10, 15)

    def test_a_range_longer_than_asked_for_or_empty(self):
        head = b"HTTP/1.1 206 P\r\nContent-Range: bytes "
        longer = head + b"10-15/99\r\nContent-Length: 6\r\n\r\nhello!"
        self._code("http-range", (longer,), 10, 15)
        self._code("http-range", (head + b"10-9/99\r\nContent-Length: 0\r\n\r\n",), 10, 15)

    def test_chunked_range_of_another_length(self):
        wire = b"HTTP/1.1 206 P\r\nContent-Range: bytes 10-14/99\r\n" + _TE
        self._code("http-short", (wire + b"3\r\nhel\r\n0\r\n\r\n",), 10, 15)
        self._code("http-body", (wire + b"6\r\nhello!\r\n0\r\n\r\n",), 10, 15)

    def test_range_not_satisfiable(self):
        client, _, done = _talk(
            (b"HTTP/1.1 416 R\r\nContent-Range: bytes */99\r\nContent-Length: 0\r\n\r\n",), 99, 120
        )
        self.assertEqual((client.status, client.total, done), (416, 99, True))


class TestPace(unittest.TestCase):
    def test_idle(self):
        client = Http()
        client.request("h", "/")
        self.assertEqual(client.tick(1000), 16000)
        client.tick(15999)
        with self.assertRaises(HttpError):
            client.tick(16000)

    def test_drip(self):
        client = Http()
        client.request("h", "/")
        client.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        client.next_event()
        client.next_event()
        code = ""
        now_ms = 0
        try:
            while now_ms < 100000:
                client.tick(now_ms)
                client.feed(b"x")
                while client.next_event() != http.NEED:
                    pass
                now_ms += 1000
        except HttpError as error:
            code = error.code
        self.assertEqual((code, now_ms), ("http-slow", 20000))

    def test_steady_flow_is_fine(self):
        client = Http()
        client.request("h", "/")
        client.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n")
        for now_ms in range(0, 40000, 1000):
            while client.next_event() != http.NEED:
                pass
            client.tick(now_ms)
            client.feed(b"x" * 100)

    def test_no_deadline_between_requests(self):
        client, _, _ = _talk((_OK,))
        client.tick(0)
        client.tick(10**6)


class TestUrls(unittest.TestCase):
    def test_split(self):
        self.assertEqual(split_url("http://h/p/q?x"), (False, "h", 80, "/p/q?x"))
        self.assertEqual(split_url("https://h:8443"), (True, "h", 8443, "/"))

    def test_bad(self):
        for url in (
            "ftp://h/",
            "http://",
            "http://h:x/",
            "http://u@h/",
            "http://h:0/",
            "http://h/a b",
            "//h",
        ):
            with self.assertRaises(HttpError):
                split_url(url)

    def test_join(self):
        self.assertEqual(join_url("http://h:81/a", "/b"), "http://h:81/b")
        self.assertEqual(join_url("http://h/a", "https://i/b"), "https://i/b")
        self.assertEqual(join_url("https://h/a", "//i/b"), "https://i/b")
        for base, location in (
            ("https://h/a", "http://h/b"),
            ("http://h/a", "b"),
            ("http://h/a", "file:///b"),
        ):
            with self.assertRaises(HttpError):
                join_url(base, location)


if __name__ == "__main__":
    unittest.main()
