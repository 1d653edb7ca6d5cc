"""Links that cannot be made: a stable code each, in time, and no descriptor left behind."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sim.mqtt_harness import Node, free_port, make_pki

PROGRAM = Path(__file__).with_name("mqtt_links.py")


class Peers:
    """What the device will knock at: ports that are closed, silent, full, plain, and a DNS."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self.ports = {
            "closed": free_port(),
            "silent": self._listen(8),
            "listening": self._listen(64),
            "full": self._full(),
            "plain": self._plain(),
            "dns": self._dns(),
        }

    def _keep(self, sock: socket.socket) -> int:
        self.sockets.append(sock)
        port: int = sock.getsockname()[1]
        return port

    def _listen(self, backlog: int) -> int:
        return self._keep(socket.create_server(("127.0.0.1", 0), backlog=backlog))

    def _full(self) -> int:
        """Nobody accepts and the queue is full: a SYN gets no answer, as from a dead host."""
        port = self._keep(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            self.sockets.append(filler)
        return port

    def _plain(self) -> int:
        server = socket.create_server(("127.0.0.1", 0))

        def run() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = server.accept()
                    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    self.sockets.append(sock)

        threading.Thread(target=run, daemon=True).start()
        return self._keep(server)

    def _dns(self) -> int:
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 0))

        def run() -> None:
            with contextlib.suppress(OSError):
                while True:
                    data, sender = server.recvfrom(512)
                    if b"nowhere" in data:
                        reply = data[:2] + b"\x81\x83" + data[4:]
                    else:
                        record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1"
                        reply = data[:2] + b"\x81\x80\0\1\0\1" + data[8:] + record
                    server.sendto(b"\0\0" + reply[2:], sender)  # a forgery first
                    server.sendto(reply, sender)

        threading.Thread(target=run, daemon=True).start()
        return self._keep(server)

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """What the VM printed, by event."""
    pki = make_pki(tmp_path_factory.mktemp("pki"))
    peers = Peers()
    try:
        given = {**peers.ports, "tls": pki.device_tls()}
        with Node(given, heap="512k", program=PROGRAM) as node:
            node.wait_for("end", 40)
            yield {event["event"]: event for event in node.events}
    finally:
        peers.close()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("closed port", "refused"),
        ("silent tls", "handshake_timeout"),
        ("full backlog", "timeout"),
        ("listening", "open"),
        ("plain answers tls", "tls_failed"),
        ("scarce", "tls_memory"),
        ("dns good", "open"),
        ("dns remembered", "open"),
        ("dns dead", "dns_timeout"),
        ("dns refused", "dns"),
        ("dns none", "dns"),
    ],
)
def test_code_deadline_and_no_leak(told: dict[str, Any], name: str, code: str) -> None:
    event = told[name]
    assert event["code"] == code
    assert event["leaked"] == 0 and event["after_close"] == 0
    limit_ms = {"dns remembered": 2500, "dns dead": 2500, "dns good": 2500}.get(name, 1400)
    assert event["ms"] < limit_ms
    print(f"{name}: {code} after {event['ms']} ms, watchdog fed {event['fed']} times")


def test_the_watchdog_is_fed_before_every_step_that_blocks(told: dict[str, Any]) -> None:
    assert told["closed port"]["fed"] >= 2
    assert told["silent tls"]["fed"] >= 4


def test_a_cancelled_open_leaves_no_socket(told: dict[str, Any]) -> None:
    assert told["cancelled"]["leaked"] == 0


def test_other_tasks_run_during_a_handshake_that_hangs(told: dict[str, Any]) -> None:
    assert told["others"]["ticks"] > 25


def test_no_socket_is_opened_without_memory_for_tls(told: dict[str, Any]) -> None:
    assert told["scarce asked"]["asked"] == ["hold", "release", "hold"]
    assert told["scarce"]["ms"] < 200


def test_multicast_names_are_left_to_the_chip(told: dict[str, Any]) -> None:
    assert told["dns local"]["host"] == "broker.local"


def test_an_address_is_remembered_when_dns_dies(told: dict[str, Any]) -> None:
    assert told["stale"]["count"] == 1


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("signed, much memory", "cert_untrusted"),
        ("signed, little memory", "tls_memory"),
        ("no memory", "tls_memory"),
        ("memory error", "tls_memory"),
        ("alert", "tls_refused"),
        ("pipe, early", "tls_refused"),
        ("pipe, late", "lost"),
        ("no anchor", "tls_no_anchor"),
        ("else", "tls_failed"),
    ],
)
def test_what_a_tls_error_means(told: dict[str, Any], name: str, code: str) -> None:
    assert told[name]["code"] == code


def test_memory_held_early_is_whole_late(told: dict[str, Any]) -> None:
    found = told["gc memory"]
    assert found["scattered"], "the heap was not fragmented enough to show anything"
    assert found["ok"] and found["whole"]
    assert told["gc starved"]["ok"] is False


def test_memory_on_esp32_is_what_the_idf_says(told: dict[str, Any]) -> None:
    assert told["idf plenty"]["ok"] is True
    assert told["idf scattered"]["ok"] is False
    assert told["idf little"]["ok"] is False
