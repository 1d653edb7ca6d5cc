"""Short conversations of a device that wakes: against mosquitto, and against what goes wrong."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.sim.mqtt_harness import Broker, Node, Peer, Proxy, Receiver, ScriptedBroker, wait_until
from tests.sim.mqtt_harness import make_pki as make_pki_in

PROGRAM = Path(__file__).with_name("mqtt_brief_node.py")


def wakes(port: int, count: int = 10, **more: Any) -> Node:
    given = {"host": "127.0.0.1", "port": port, "count": count, **more}
    return Node(given, program=PROGRAM)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_one_wake_says_all(tmp_path: Path, secure: bool) -> None:
    pki = make_pki_in(tmp_path)
    with Broker(tmp_path, pki if secure else None) as broker:
        receiver = Receiver(broker)
        more = {"host": "localhost", "tls": pki.device_tls()} if secure else {}
        with Proxy(broker.port) as proxy, wakes(proxy.port, **more) as node:
            done = node.result()
        end = time.monotonic() + 3
        while len(receiver.numbers()) < 10 and time.monotonic() < end:
            time.sleep(0.02)
        receiver.close()
        assert done["missing"] == 0 and len(node.seen("wake")) == 1
        assert receiver.numbers() == list(range(10))
        wait_until(lambda: "Client dev-1 disconnected." in broker.log, 3)  # said goodbye


def test_wakes_go_on_until_the_broker_is_back(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    with wakes(broker.port, sleep_ms=250) as node:
        node.wait_for("wake", count=2)
        broker.start()
        try:
            assert node.result()["missing"] == 0
        finally:
            broker.stop()


def refuse(peer: Peer) -> None:
    if peer.number < 3:
        peer.packet()
        peer.send(b"\x20\x02\x00\x05")
        return
    peer.accept()
    peer.serve()


def silent(peer: Peer) -> None:
    if peer.number < 3:
        peer.silence()
    peer.accept()
    peer.serve()


def half(peer: Peer) -> None:
    """Acknowledges three messages of each wake, and hangs up."""
    peer.accept()
    left = [3]

    def answer(pid: int) -> bytes:
        left[0] -= 1
        if left[0] < 0:
            raise EOFError
        return b"\x40\x02" + bytes([pid >> 8, pid & 255])

    peer.serve(answer)


def garbage(peer: Peer) -> None:
    if peer.number < 3:
        peer.packet()
        peer.send(b"\xff" * 50)
        peer.silence()
    peer.accept()
    peer.serve()


def chatty(peer: Peer) -> None:
    """A session that still has 64 KiB for the device."""
    peer.packet()
    peer.send(b"\x20\x02\x01\x00" + b"\x32\x85\x80\x04\x00\x01t\x00\x01" + bytes(65536))
    peer.serve()


@pytest.mark.parametrize("script", [refuse, silent, half, garbage, chatty])
def test_nothing_is_lost(script: Any) -> None:
    with ScriptedBroker(script) as broker, wakes(broker.port, timeout_ms=600) as node:
        done = node.result()
    assert done["missing"] == 0
    assert set(broker.numbers()) == set(range(10))
    assert done["grown"] < 512
    print(f"{script.__name__}: lost 0, {len(node.seen('wake'))} wakes")
