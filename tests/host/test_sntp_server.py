"""The fleet's SNTP server against the device's own client code."""

import socket

from node.core import sntp
from outpost.fleet.sntp import SntpServer, answer

NONCE = b"\x01\x02\x03\x04\x05\x06\x07\x08"


def test_the_device_accepts_its_answer() -> None:
    reply = answer(sntp.request(NONCE), 1790000000.25)
    assert reply is not None
    assert sntp.reply_ms(reply, NONCE) == 1790000000250


def test_anything_but_a_client_request_gets_no_answer() -> None:
    request = sntp.request(NONCE)
    assert answer(request[:47], 1790000000) is None
    assert answer(b"\x24" + request[1:], 1790000000) is None


def test_over_udp() -> None:
    server = SntpServer(now=lambda: 1790000000.0)
    server.start()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(2)
            sock.sendto(b"garbage", ("127.0.0.1", server.port))
            sock.sendto(sntp.request(NONCE), ("127.0.0.1", server.port))
            assert sntp.reply_ms(sock.recv(64), NONCE) == 1790000000000
    finally:
        server.close()
    assert server.answered == 1
