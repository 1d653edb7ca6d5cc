"""The connection against a real mosquitto and a spoilt link: nothing lost, heap back to idle.

Every test prints its time to recover: from the cure to the next connection where the test is the
one who cures, else the longest time without an acknowledgement.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sim.mqtt_harness import (
    Broker,
    NameServer,
    Node,
    Pki,
    Proxy,
    Receiver,
    compile_firmware,
    make_pki,
    paused,
)

# A list that grows once, an object that the conservative collector cannot tell from a live one. A
# leak per reconnect is found by the tests with many of them.
HEAP_SLACK = 1024
QUICK = {"backoff_ms": 100, "backoff_cap_ms": 800, "stable_ms": 1000}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as broker:
        yield broker


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_firmware(tmp_path_factory.mktemp("mpy"))


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return make_pki(tmp_path)


def settings(port: int, **more: Any) -> dict[str, Any]:
    basic = {"host": "127.0.0.1", "port": port, "count": 40, "interval_ms": 50, **QUICK}
    return {**basic, **more}


def finish(
    name: str,
    node: Node,
    receiver: Receiver | None = None,
    duplicates: int = 8,
    cured_at: float | None = None,
) -> dict:
    """What must hold after every fault; returns the device's last words."""
    done = node.result(40)
    assert done["missing"] == 0
    idle = node.seen("idle")
    grown = done["heap"] - idle[0]["heap"] if idle else 0
    assert grown <= HEAP_SLACK
    if receiver:
        count = node.settings["count"]
        numbers = receiver.numbers()
        end = time.monotonic() + 3
        while len(set(numbers)) < count and time.monotonic() < end:
            time.sleep(0.05)
            numbers = receiver.numbers()
        assert set(numbers) == set(range(count)), "messages were lost"
        assert len(numbers) - count <= duplicates
        receiver.close()
    counters = done["counters"]
    took_ms = done["gap_ms"]
    if cured_at is not None:
        # a node that is done before it looks says only that
        seen = node.seen("connected") or [{"at": time.monotonic()}]
        took_ms = round(1000 * (seen[-1]["at"] - cured_at))
    print(f"{name}: lost 0, recovered in {took_ms} ms, heap {grown:+} B, {counters}")
    return done


def test_undisturbed(broker: Broker) -> None:
    receiver = Receiver(broker)
    with Node(settings(broker.port, interval_ms=20)) as node:
        done = finish("undisturbed", node, receiver, duplicates=0)
    assert done["counters"]["connects"] == 1 and done["counters"]["failures"] == 0


def test_broker_killed_and_restarted(broker: Broker) -> None:
    receiver = Receiver(broker)
    with Node(settings(broker.port)) as node:
        node.wait_for("idle")
        broker.kill()
        time.sleep(0.7)
        broker.start()
        done = finish("kill -9, restart", node, receiver, cured_at=time.monotonic())
    assert done["counters"]["connects"] == 2


def test_broker_stopped_within_the_keepalive(broker: Broker) -> None:
    receiver = Receiver(broker)
    with Node(settings(broker.port, keepalive_s=20)) as node:
        node.wait_for("idle")
        with paused(broker):
            time.sleep(1.5)
        done = finish("SIGSTOP, short", node, receiver, duplicates=0)
    assert done["counters"]["connects"] == 1


def test_broker_stopped_beyond_the_keepalive(broker: Broker) -> None:
    receiver = Receiver(broker)
    with Node(settings(broker.port, keepalive_s=2, connack_timeout_ms=1000)) as node:
        node.wait_for("idle")
        with paused(broker):
            node.wait_for("fault", 4)
            time.sleep(1)
        cured_at = time.monotonic()
        done = finish("SIGSTOP, long", node, receiver, duplicates=24, cured_at=cured_at)
    assert done["fault"] in ("no_pingresp", "no_connack", "eof")


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("keepalive_s", [60, 16])
def test_broker_stopped_for_thirty_seconds(broker: Broker, keepalive_s: int) -> None:
    """Half of the keepalive, and twice as long: in real time, so not in every run."""
    receiver = Receiver(broker)
    given = settings(broker.port, keepalive_s=keepalive_s, count=80, ack_timeout_ms=60000)
    with Node(given) as node:
        node.wait_for("idle")
        with paused(broker):
            time.sleep(30)
        cured_at = time.monotonic() if keepalive_s < 60 else None
        name = f"SIGSTOP 30 s, keepalive {keepalive_s} s"
        done = finish(name, node, receiver, duplicates=80, cured_at=cured_at)
    assert (done["counters"]["connects"] == 1) == (keepalive_s == 60)


def test_half_open_link(broker: Broker) -> None:
    """No FIN ever comes: noticed within 1.5 x keepalive."""
    receiver = Receiver(broker)
    proxy = Proxy(broker.port)
    with proxy, Node(settings(proxy.port, keepalive_s=2, ack_timeout_ms=60000)) as node:
        node.wait_for("idle")
        proxy.half_open()
        cut_at = time.monotonic()
        fault = node.wait_for("fault", 5)
        assert fault["code"] == "no_pingresp"
        assert fault["at"] - cut_at < 1.5 * 2
        done = finish("half-open", node, receiver)
    assert done["counters"]["connects"] == 2


def test_link_cut_again_and_again(broker: Broker) -> None:
    receiver = Receiver(broker)
    with Proxy(broker.port) as proxy, Node(settings(proxy.port, count=80)) as node:
        for _ in range(6):
            time.sleep(0.5)
            proxy.cut()
        done = finish("six cuts", node, receiver, duplicates=48)
    assert done["counters"]["connects"] >= 4


def test_loss_and_latency(broker: Broker) -> None:
    receiver = Receiver(broker)
    with Proxy(broker.port) as proxy:
        proxy.delay_s = 0.25
        proxy.loss = 0.2
        with Node(settings(proxy.port, count=30, interval_ms=100)) as node:
            done = finish("20 % loss, 500 ms", node, receiver, duplicates=0)
    assert done["counters"]["connects"] == 1


def test_broker_refuses(broker: Broker) -> None:
    receiver = Receiver(broker)
    with Proxy(broker.port) as proxy, Node(settings(proxy.port)) as node:
        node.wait_for("idle")
        proxy.accepting = False
        proxy.cut()
        time.sleep(1)
        proxy.accepting = True
        finish("refused for a second", node, receiver, cured_at=time.monotonic())


def test_no_network_for_a_virtual_day(broker: Broker) -> None:
    day_ms = 24 * 3600 * 1000
    receiver = Receiver(broker)
    away = {"from": 600, "to": 600 + day_ms}
    with Node(settings(broker.port, count=60, online=away, keepalive_s=3600)) as node:
        done = finish("a day without network", node, receiver)
    assert done["gap_ms"] >= day_ms
    assert done["counters"]["connects"] == 2


def test_wall_clock_jumps_both_ways(broker: Broker) -> None:
    receiver = Receiver(broker)
    with Node(settings(broker.port, clock_jumps=True)) as node:
        done = finish("clock jumps", node, receiver, duplicates=0)
    assert done["counters"]["failures"] == 0


def test_dead_dns(broker: Broker) -> None:
    with Node(settings(broker.port, host="broker.invalid")) as node:
        codes = {node.wait_for("fault", 30, count)["code"] for count in (1, 2, 3)}
    assert codes <= {"dns", "dns_timeout"}


def test_dns_that_comes_back(broker: Broker) -> None:
    """No name server when the device starts; and one that dies again costs nothing any more."""
    receiver = Receiver(broker)
    with NameServer() as names, Proxy(broker.port) as proxy:
        names.alive = False
        given = settings(proxy.port, host="broker.test", dns=names.port, open_timeout_ms=1500)
        with Node(given) as node:
            assert node.wait_for("fault")["code"] == "dns_timeout"
            names.alive = True
            cured_at = time.monotonic()
            node.wait_for("idle")
            back_ms = round(1000 * (node.seen("connected")[0]["at"] - cured_at))
            names.alive = False
            proxy.cut()
            cured_at = time.monotonic()
            finish(f"DNS back ({back_ms} ms), dead again", node, receiver, cured_at=cured_at)


def test_message_as_large_as_the_heap(broker: Broker, firmware: Path, vm32: Path) -> None:
    """64 KiB for a device whose whole heap is 64 KiB: skipped, counted, acknowledged."""
    receiver = Receiver(broker)
    given = settings(broker.port, subscribe="command", expect=1, max_packet=512)
    with Node(given, heap="64k", firmware=firmware, bits=32) as node:
        node.wait_for("idle")
        for fill in (b"z", b"123456789"):  # 0x3n bytes look like PUBLISH headers
            receiver.send("v1/dev-1/down/command", (fill * 65536)[:65536])
        receiver.send("v1/dev-1/down/command", b"still there?")
        assert node.wait_for("message")["start"] == "still there?"
        done = finish("64 KiB message", node, receiver, duplicates=0)
    assert done["counters"]["oversized"] == 2
    assert done["counters"]["connects"] == 1


def test_session_is_resumed_with_what_came_meanwhile(broker: Broker) -> None:
    """CONNACK with session-present, and a command that was sent while the link was down."""
    receiver = Receiver(broker)
    proxy = Proxy(broker.port)
    with proxy, Node(settings(proxy.port, subscribe="command", expect=1)) as node:
        node.wait_for("idle")
        proxy.accepting = False
        proxy.cut()
        receiver.send("v1/dev-1/down/command", b"while away")
        proxy.accepting = True
        assert node.wait_for("message")["start"] == "while away"
        assert node.wait_for("connected", count=2)["present"] is True
        finish("session present", node, receiver)


def test_clean_disconnect_keeps_the_will_unsaid(broker: Broker) -> None:
    receiver = Receiver(broker)
    with Node(settings(broker.port, will=True, count=5)) as node:
        node.result()
        node.wait_for("stopped")
        time.sleep(0.2)
    assert b"gone" not in receiver.payloads
    with Node(settings(broker.port, will=True, count=5, stop=False, linger_ms=10000)) as node:
        node.wait_for("idle")
    end = time.monotonic() + 3
    while b"gone" not in receiver.payloads and time.monotonic() < end:
        time.sleep(0.05)
    assert b"gone" in receiver.payloads
    receiver.close()


# TLS


def tls_settings(broker: Broker, pki: Pki, **more: Any) -> dict[str, Any]:
    return settings(broker.port, host="localhost", tls=pki.device_tls(), **more)


def test_tls_undisturbed(tmp_path: Path, pki: Pki) -> None:
    with Broker(tmp_path, pki) as broker:
        receiver = Receiver(broker)
        with Node(tls_settings(broker, pki, interval_ms=20)) as node:
            finish("TLS", node, receiver, duplicates=0)


@pytest.mark.parametrize("few", [False, True], ids=["ring", "few"])
def test_tls_link_cut_again_and_again(tmp_path: Path, pki: Pki, few: bool) -> None:
    with Broker(tmp_path, pki) as broker, Proxy(broker.port) as proxy:
        receiver = Receiver(broker)
        given = {**tls_settings(broker, pki, count=60, few=few), "port": proxy.port}
        with Node(given) as node:
            for _ in range(4):
                time.sleep(0.6)
                proxy.cut()
            done = finish("TLS, four cuts", node, receiver, duplicates=32)
        assert done["counters"]["connects"] >= 2


def bad_server(pki: Pki, what: str) -> Any:
    import datetime

    from tests.sim.mqtt_harness import BACKDATED, FAR, Authority

    past = datetime.datetime(2020, 1, 1)
    hosts = ("localhost", "127.0.0.1")
    if what == "cert_expired":
        return pki.authority.issue("bad", "localhost", hosts=hosts, valid=(BACKDATED, past))
    if what == "cert_future":
        later = datetime.datetime(2049, 1, 1)
        return pki.authority.issue("bad", "localhost", hosts=hosts, valid=(later, FAR))
    if what == "cert_name":
        return pki.authority.issue("bad", "elsewhere", hosts=("elsewhere",))
    folder = pki.authority.folder / "other"
    folder.mkdir()
    return Authority(folder, "other-ca").issue("bad", "localhost", hosts=hosts)


@pytest.mark.parametrize("what", ["cert_expired", "cert_future", "cert_name", "cert_untrusted"])
def test_bad_certificate_is_named_and_a_good_one_heals(
    tmp_path: Path, pki: Pki, what: str
) -> None:
    broker = Broker(tmp_path, pki)
    broker.server = bad_server(pki, what)
    with broker, Node(tls_settings(broker, pki, count=10)) as node:
        assert node.wait_for("fault")["code"] == what
        node.wait_for("fault", count=2)
        broker.stop()
        broker.server = pki.server
        broker.start()
        finish(what, node, cured_at=time.monotonic())


def test_revoked_device_is_refused_until_it_is_not(tmp_path: Path, pki: Pki) -> None:
    crl = pki.authority.revoke(pki.device)
    broker = Broker(tmp_path, pki, extra=f"crlfile {crl}")
    with broker, Node(tls_settings(broker, pki, count=10)) as node:
        assert node.wait_for("fault")["code"] in ("tls_refused", "lost", "eof")
        assert not node.seen("connected")
        broker.stop()
        broker.extra = ""
        broker.start()
        finish("revoked", node, cured_at=time.monotonic())


def test_device_of_another_authority_is_refused(tmp_path: Path, pki: Pki) -> None:
    from tests.sim.mqtt_harness import Authority

    folder = tmp_path / "other"
    folder.mkdir()
    stranger = Authority(folder, "other-ca").issue("device", "dev-1")
    with Broker(tmp_path, pki) as broker:
        given = tls_settings(broker, pki, count=1)
        given["tls"]["cert"] = str(stranger.file("crt.der"))
        given["tls"]["key"] = str(stranger.file("key.der"))
        with Node(given) as node:
            assert node.wait_for("fault")["code"] in ("tls_refused", "lost", "eof")
            assert not node.seen("connected")


def test_second_anchor_carries_a_ca_rotation(tmp_path: Path, pki: Pki) -> None:
    from tests.sim.mqtt_harness import Authority

    folder = tmp_path / "next"
    folder.mkdir()
    following = Authority(folder, "next-ca")
    with Broker(tmp_path, pki) as broker:
        given = tls_settings(broker, pki, count=5)
        assert following.ca
        given["tls"]["anchors"].insert(0, str(following.ca.file("crt.der")))
        with Node(given) as node:
            finish("two anchors", node)
