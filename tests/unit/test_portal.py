"""What the answer to a captive-portal probe is taken for."""

import unittest

from node.core import portal, wifi
from node.core.fetch import Exchange
from node.core.http import Http


def answer(*pieces):
    fetch = portal.request("http://probe.example/ok")
    exchange = Exchange(Http(), fetch)
    for piece in pieces:
        if not exchange.done:
            exchange.feed(memoryview(piece))
    exchange.eof()
    return portal.verdict(fetch)


class TestPortal(unittest.TestCase):
    def test_the_right_answers(self):
        self.assertEqual(answer(b"HTTP/1.1 204 No Content\r\n\r\n"), wifi.PORTAL_OPEN)
        body = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        self.assertEqual(answer(body), wifi.PORTAL_OPEN)

    def test_a_redirect_is_a_portal(self):
        head = b"HTTP/1.1 302 Found\r\nLocation: http://login/\r\nContent-Length: 0\r\n\r\n"
        self.assertEqual(answer(head), wifi.PORTAL_CAPTIVE)

    def test_a_page_is_a_portal(self):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n"
        self.assertEqual(answer(head, b"<html>"), wifi.PORTAL_CAPTIVE)

    def test_a_long_answer_is_a_portal(self):
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n"
        self.assertEqual(answer(head, b"x" * 4000), wifi.PORTAL_CAPTIVE)

    def test_log_in_required_is_a_portal(self):
        head = b"HTTP/1.1 511 Network Authentication Required\r\nContent-Length: 0\r\n\r\n"
        self.assertEqual(answer(head), wifi.PORTAL_CAPTIVE)

    def test_silence_and_a_sick_server_are_not(self):
        self.assertEqual(answer(), wifi.PORTAL_UNKNOWN)
        head = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
        self.assertEqual(answer(head), wifi.PORTAL_UNKNOWN)
