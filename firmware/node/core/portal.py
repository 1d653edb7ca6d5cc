"""Captive portals: what the answer to a probe says about the network.

A hotspot that wants a click answers every HTTP request itself: with a redirect to its page, or
with the page. So a URL whose right answer is known is asked once after joining; RFC 8910 (the DHCP
option) is not offered by the ports' DHCP clients. Only plain HTTP is of use: a portal cannot
answer for a TLS server, it can only be silent.
"""

from node.core import wifi
from node.core.fetch import Fetch

MAX_BYTES = 64


def request(url: str) -> Fetch:
    """The probe. The right answer is 204, or 200 with at most MAX_BYTES that are not HTML."""
    fetch = Fetch(0, -1, MAX_BYTES)
    fetch.url = url
    return fetch


def verdict(fetch: Fetch) -> int:
    """wifi.PORTAL_OPEN, _CAPTIVE, or _UNKNOWN when nobody answered.

    A redirect, a page, a request for a log-in (RFC 6585 section 6: 511) or a body that is longer
    than the right one is a portal's work. A server error is not: somebody reached the server.
    """
    if fetch.code == "http-body":  # longer than the right answer: its status was not looked at
        return wifi.PORTAL_CAPTIVE
    if not fetch.status:
        return wifi.PORTAL_UNKNOWN
    if fetch.html or 300 <= fetch.status < 400 or fetch.status in (401, 407, 511):
        return wifi.PORTAL_CAPTIVE
    if fetch.status == 204 or (fetch.status == 200 and not fetch.code):
        return wifi.PORTAL_OPEN
    return wifi.PORTAL_UNKNOWN
