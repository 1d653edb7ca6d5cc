"""Fuzzing the device's HTTP parser: whatever a server sends, an HttpError with a code, or a body
no longer than was allowed; and no more is kept of it than the parser's own bounds.

tests/unit/test_http.py flips every byte and cuts every prefix, on the VM, too.
"""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from node.core import http
from node.core.url import HttpError

RUNS = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
LIMIT = 64
PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 206 Partial\r\n",
        b"HTTP/1.1 416 No\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Content-Range: bytes 10-14/99\r\n",
        b"Content-Range: bytes 10-14/*\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b'ETag: "x"\r\n',
        b"\r\n",
        b"5\r\nhello\r\n",
        b"ffffffffff\r\n",
        b"0\r\n\r\n",
        b"hello",
        b"X: " + b"y" * 400 + b"\r\n",
    ]
)
WIRE = st.lists(st.one_of(PIECES, st.binary(max_size=40)), max_size=12).map(b"".join)


def talk(wire: bytes, cuts: list[int], ranged: bool) -> int:
    """Bytes of body that came out of this answer, fed in pieces, until it ended."""
    client = http.Http()
    client.request("h", "/p", 10 if ranged else 0, 15 if ranged else -1)
    client.limit(LIMIT)
    body = 0
    edges = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
    try:
        for start, end in zip(edges, edges[1:], strict=False):
            client.feed(wire[start:end])
            event = client.next_event()
            while event != http.NEED:
                body += len(client.data) if event == http.DATA else 0
                if event == http.DONE:
                    return body
                event = client.next_event()
        client.eof()
        for _ in range(4):
            client.next_event()
    except HttpError as error:
        assert error.code
    return body


@RUNS
@given(WIRE, st.lists(st.integers(0, 5000), max_size=5), st.booleans())
def test_any_answer(wire: bytes, cuts: list[int], ranged: bool) -> None:
    assert talk(wire, cuts, ranged) <= LIMIT


@RUNS
@given(st.binary(max_size=600), st.lists(st.integers(0, 600), max_size=5))
def test_any_bytes(wire: bytes, cuts: list[int]) -> None:
    assert talk(b"HTTP/1.1 " + wire, cuts, False) <= LIMIT
