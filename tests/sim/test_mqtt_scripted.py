"""The connection against a broker that misbehaves on purpose: each case hangs, loses or loops
some client in the field. Nothing may be lost, nothing may hang, and what is sent again must have
the same packet id and DUP=1.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.sim.mqtt_harness import Broker, Node, Peer, Receiver, ScriptedBroker, puback

both_windows = pytest.mark.parametrize("few", [False, True], ids=["ring", "few"])
HEAP_SLACK = 1024
QUICK = {"backoff_ms": 50, "backoff_cap_ms": 400, "stable_ms": 2000, "count": 12}


def settings(port: int, **more: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "interval_ms": 30, **QUICK, **more}


def play(script: Callable[[Peer], None], timeout_s: float = 20, **more: Any) -> Any:
    """Run the device against the script; returns (broker, its last words, faults)."""
    with ScriptedBroker(script) as broker, Node(settings(broker.port, **more)) as node:
        done = node.result(timeout_s)
        assert done["missing"] == 0
        assert done["windows"] == ["few" if more.get("few") else "window"]  # only that one loaded
        idle = node.seen("idle")
        grown = done["heap"] - idle[0]["heap"] if idle else 0
        assert grown <= HEAP_SLACK
        faults = [event["code"] for event in node.seen("fault")]
    assert set(broker.numbers()) == set(range(node.settings["count"]))
    check_resends(broker)
    words = f"{broker.connections} connections, faults {faults}"
    print(
        f"{script.__name__}: lost 0, recovered in {done['gap_ms']} ms, heap {grown:+} B, {words}"
    )
    return broker, done, faults


def check_resends(broker: ScriptedBroker) -> None:
    """A number is seen again only on a later connection, with its id, and DUP=1."""
    first: dict[bytes, tuple[int, int]] = {}
    for connection, dup, pid, payload in broker.publishes():
        if payload not in first:
            assert not dup or connection > 1  # the script had not read it on the first
            first[payload] = (connection, pid)
        else:
            assert connection > first[payload][0]
            assert (dup, pid) == (1, first[payload][1])


@both_windows
def test_one_puback_withheld(few: bool) -> None:
    def noack(peer: Peer) -> None:
        peer.accept()
        peer.serve(lambda pid: b"" if peer.number == 1 and pid == 4 else puback(pid))

    broker, done, faults = play(noack, few=few, ack_timeout_ms=1000, window=4)
    assert faults == ["no_puback"] and broker.connections == 2
    # those behind it that were acknowledged are not sent again
    assert len(broker.publishes()) == 12 + 1


@both_windows
def test_closed_before_puback(few: bool) -> None:
    def dropack(peer: Peer) -> None:
        peer.accept()

        def answer(pid: int) -> bytes:
            if peer.number == 1 and pid == 3:
                raise EOFError
            return puback(pid)

        peer.serve(answer)

    _, done, faults = play(dropack, few=few)
    assert len(faults) == 1 and done["gap_ms"] < 1500


@both_windows
def test_every_puback_twice(few: bool) -> None:
    def dupack(peer: Peer) -> None:
        peer.accept()
        peer.serve(lambda pid: puback(pid) * 2)

    broker, done, faults = play(dupack, few=few)
    assert faults == [] and broker.connections == 1
    assert done["counters"]["strays"] == 12


@both_windows
def test_stray_puback_first(few: bool) -> None:
    def ackother(peer: Peer) -> None:
        peer.accept()
        peer.serve(lambda pid: puback(0x3132) + puback(pid))

    broker, done, faults = play(ackother, few=few)
    assert faults == [] and done["counters"]["strays"] == 12


@both_windows
def test_late_puback(few: bool) -> None:
    """The acknowledgement of the connection before arrives on this one, besides its own."""

    def lateack(peer: Peer) -> None:
        peer.accept(present=peer.number > 1)
        if peer.number == 1:
            for _ in range(3):
                peer.packet()
            return
        peer.serve(lambda pid: puback(pid) + puback(1))

    broker, done, faults = play(lateack, few=few)
    assert len(faults) == 1 and done["counters"]["strays"] >= 10


@both_windows
def test_pubacks_in_reverse_order(few: bool) -> None:
    held: list[int] = []

    def reverse(peer: Peer) -> None:
        peer.accept()

        def answer(pid: int) -> bytes:
            held.append(pid)
            if len(held) < 4:
                return b""
            acks = b"".join(puback(pid) for pid in reversed(held))
            held.clear()
            return acks

        peer.serve(answer)

    _, done, faults = play(reverse, few=few, window=4)
    assert faults == []


@both_windows
def test_half_open_link(few: bool) -> None:
    def halfopen(peer: Peer) -> None:
        peer.accept()
        if peer.number == 1:
            for _ in range(4):
                peer.packet()
            peer.silence()
        peer.serve()

    _, done, faults = play(halfopen, few=few, keepalive_s=2, ack_timeout_ms=60000)
    assert faults == ["no_pingresp"] and done["gap_ms"] < 3500


@both_windows
def test_no_connack(few: bool) -> None:
    def noconnack(peer: Peer) -> None:
        if peer.number == 1:
            peer.silence()
        peer.accept()
        peer.serve()

    _, _, faults = play(noconnack, few=few, connack_timeout_ms=800)
    assert faults == ["no_connack"]


@both_windows
def test_end_of_file_before_connack(few: bool) -> None:
    def eofconnack(peer: Peer) -> None:
        if peer.number == 1:
            return  # not even CONNECT is read: a reset
        if peer.number == 2:
            peer.packet()
            return
        peer.accept()
        peer.serve()

    _, _, faults = play(eofconnack, few=few)
    assert len(faults) == 2 and set(faults) <= {"eof", "lost"}


@both_windows
def test_session_present(few: bool) -> None:
    def present(peer: Peer) -> None:
        peer.accept(present=1)
        if peer.number < 4:
            peer.packet()
            return
        peer.serve()

    broker, done, _ = play(present, few=few)
    assert broker.connections == 4 and done["counters"]["connects"] == 4


@both_windows
def test_one_byte_per_segment(few: bool) -> None:
    def trickle(peer: Peer) -> None:
        def slowly(data: bytes) -> None:
            for byte in data:
                peer.sock.sendall(bytes([byte]))
                time.sleep(0.002)

        peer.packet()
        slowly(b"\x20\x02\x00\x00")
        slowly(b"\x30\x12\x00\x10v1/dev-1/down/xy")

        def answer(pid: int) -> bytes:
            slowly(puback(pid))
            return b""

        peer.serve(answer)

    _, _, faults = play(trickle, few=few)
    assert faults == []


@both_windows
def test_qos2_message(few: bool) -> None:
    def whole(peer: Peer) -> None:
        topic = b"v1/dev-1/down/command"
        body = bytes([0, len(topic)]) + topic + b"\x00\x09hi"
        message = bytes([0x34, len(body)]) + body
        peer.accept()
        first = 0
        while first != 0x82:
            first, body = peer.packet()
            if first == 0x32:
                at = 2 + (body[0] << 8 | body[1])
                peer.send(b"\x40\x02" + body[at : at + 2])
        peer.send(b"\x90\x03" + body[:2] + b"\x01")
        peer.send(message + bytes([message[0] | 8]) + message[1:])
        peer.send(b"\x62\x02\x00\x09")
        peer.serve()

    with ScriptedBroker(whole) as broker:
        with Node(settings(broker.port, few=few, subscribe="command", expect=1)) as node:
            node.result()
            assert len(node.seen("message")) == 1
            assert node.seen("fault") == []
        answers = [first for _, first, _ in broker.log if first in (0x50, 0x70)]
        assert answers == [0x50, 0x50, 0x70]


@both_windows
def test_header_claims_200_megabytes(few: bool) -> None:
    def huge(peer: Peer) -> None:
        peer.accept()
        if peer.number == 1:
            peer.send(b"\x30\x80\x84\xaf\x5f\x00\x01t")
        peer.serve()

    _, done, faults = play(huge, few=few, keepalive_s=2, ack_timeout_ms=1000)
    assert faults in (["no_puback"], ["no_pingresp"])


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n",
        b"\x00" * 64,
        b"\xff" * 64,
        b"\x20\xff\xff\xff\xff\xff",
        b"\x36\x05\x00\x01t\x00\x01",
        b"\x20\x02\x00\x00" * 2,
    ],
    ids=["http", "zeros", "ones", "length", "qos 3", "connack twice"],
)
def test_garbage(garbage: bytes) -> None:
    def spew(peer: Peer) -> None:
        if peer.number == 1:
            peer.packet()
            peer.send(garbage)
            peer.silence()
        if peer.number == 2:
            peer.accept()
            peer.send(garbage)
            peer.silence()
        peer.accept()
        peer.serve()

    _, done, faults = play(spew, connack_timeout_ms=1500, ack_timeout_ms=1500, keepalive_s=2)
    assert len(faults) == 2
    assert set(faults) <= {"malformed", "order", "length", "no_puback", "no_connack"}


def test_refusals_then_acceptance() -> None:
    def refuse(peer: Peer) -> None:
        if peer.number <= 3:
            peer.packet()
            peer.send(bytes([0x20, 2, 0, 2 + peer.number]))
            return
        peer.accept()
        peer.serve()

    _, _, faults = play(refuse)
    assert faults == ["refused"] * 3


def test_kicked_right_after_connack_backs_off() -> None:
    """A broker that accepts and hangs up is no reason to start over with short pauses."""
    times: list[float] = []

    def kick(peer: Peer) -> None:
        times.append(time.monotonic())
        peer.accept()
        if peer.number <= 8:
            return
        peer.serve()

    play(kick, backoff_ms=20, backoff_cap_ms=1000, stable_ms=1000, longest_pauses=True)
    pauses = [later - before for before, later in zip(times, times[1:], strict=False)]
    for number, pause in enumerate(pauses):
        assert pause >= min(1.0, 0.02 * 2**number)


@both_windows
def test_packet_ids_wrap_with_a_real_broker(tmp_path: Any, few: bool) -> None:
    """65,535 and some more publishes with QoS 1 in one session."""
    with Broker(tmp_path) as broker:
        given = settings(broker.port, count=66000, interval_ms=0, size=16, window=20, few=few)
        with Node(given, heap="1m") as node:
            done = node.result(60)
    assert done["missing"] == 0 and done["counters"]["connects"] == 1
    assert done["counters"]["acked"] <= 66000 and done["fault"] == ""


# MQTT 5


def test_mqtt5_with_a_real_broker(tmp_path: Any) -> None:
    with Broker(tmp_path, extra="max_keepalive 30\n") as broker:
        receiver = Receiver(broker)
        given = settings(broker.port, version=5, subscribe="command", expect=1, keepalive_s=60)
        with Node(given) as node:
            node.wait_for("connected")
            time.sleep(0.1)
            receiver.send("v1/dev-1/down/command", b"five")
            done = node.result()
            assert node.wait_for("message")["start"] == "five"
        assert done["missing"] == 0 and done["fault"] == ""
        end = time.monotonic() + 3
        while len(set(receiver.numbers())) < 12 and time.monotonic() < end:
            time.sleep(0.05)
        receiver.close()
        assert set(receiver.numbers()) == set(range(12))
        assert "p5" in broker.log or "(p5" in broker.log


@pytest.mark.parametrize("how", ["code 1", "reason 0x84", "hang up"])
def test_mqtt5_falls_back_to_311(how: str) -> None:
    versions: list[int] = []

    def old(peer: Peer) -> None:
        _, body = peer.packet()
        versions.append(body[6])
        if body[6] == 5:
            if how == "code 1":
                peer.send(b"\x20\x02\x00\x01")
            elif how == "reason 0x84":
                peer.send(b"\x20\x03\x00\x84\x00")
            return
        peer.send(b"\x20\x02\x00\x00")
        peer.serve()

    _, _, faults = play(old, version=5)
    assert versions == [5, 4] and len(faults) == 1


def test_mqtt5_limits_of_the_server() -> None:
    def limits(peer: Peer) -> None:
        peer.packet()
        peer.send(b"\x20\x0b\x00\x00\x08\x21\x00\x02\x13\x00\x02\x24\x01")
        unacked: list[int] = []
        peer.sock.settimeout(5)
        while True:
            first, body = peer.packet()
            if first >> 4 == 3:
                at = 2 + (body[0] << 8 | body[1])
                unacked.append(body[at] << 8 | body[at + 1])
                assert body[at + 2] == 0, "properties"
                peer.broker.log[-1] = (1, first, body[: at + 2] + body[at + 3 :])
                worst.append(len(unacked))
                if len(unacked) == 2:
                    for pid in unacked:
                        peer.send(bytes([0x40, 3, pid >> 8, pid & 255, 0x10]))
                    unacked.clear()
            elif first == 0xC0:
                pings.append(time.monotonic())
                peer.send(b"\xd0\x00")
            elif first == 0xE0:
                return

    worst: list[int] = []
    pings: list[float] = []
    play(limits, version=5, interval_ms=0, linger_ms=2000)
    assert max(worst) == 2
    assert pings, "the server's keepalive of 2 s was not respected"


def test_mqtt5_quota_is_retried_and_refusal_is_not() -> None:
    def quota(peer: Peer) -> None:
        peer.packet()
        peer.send(b"\x20\x03\x00\x00\x00")
        while True:
            first, body = peer.packet()
            if first >> 4 == 3:
                at = 2 + (body[0] << 8 | body[1])
                pid = body[at] << 8 | body[at + 1]
                peer.broker.log[-1] = (peer.number, first, body[: at + 2] + body[at + 3 :])
                reason = 0x97 if pid == 5 and peer.number == 1 else 0x87 if pid == 7 else 0
                peer.send(bytes([0x40, 4, pid >> 8, pid & 255, reason, 0]))
            elif first == 0xE0:
                return

    broker, done, faults = play(quota, version=5)
    assert faults == ["quota"]
    assert [pid for _, dup, pid, _ in broker.publishes() if dup][0] == 5
