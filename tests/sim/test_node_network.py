"""The whole node and its network: what board data, product and settings say reaches the chip."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from outpost.factory import Wifi
from outpost.sim import AccessPoint, SimBoard, Wiring

from tests.sim.mqtt_harness import Broker, wait_until
from tests.sim.whole_node import Workshop, settings_for

pytestmark = [pytest.mark.vm, pytest.mark.broker]
WIRED = ("esp32_w5500", "w5500_evb_pico")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    probe = 'probe = "http://probe.test/204"'
    changed = f'[mqtt]\nversion = "5"\n[network]\n{probe}\n'
    return Workshop(tmp_path_factory.mktemp("shop"), changed, (*WIRED, "esp32_generic"))


@pytest.fixture
def broker(shop: Workshop) -> Iterator[Broker]:
    with shop.broker() as broker:
        yield broker


def connected(broker: Broker, times: int = 1) -> bool:
    return broker.log.count("as dev-1 (p") >= times


@pytest.mark.parametrize("name", WIRED)
def test_a_wired_node_connects_and_survives_its_cable(
    shop: Workshop, broker: Broker, name: str
) -> None:
    """In the heap of its TOML, always connected."""
    with shop.make(name, settings_for(broker.port)) as board:
        board.wait_for("line:ethernet: up", timeout=40)
        wait_until(lambda: connected(broker), 30)
        board.world["eth.up"] = 0
        board.wait_for("line:wifi: link lost", timeout=20)
        board.world["eth.up"] = 1
        board.wait_for("line:ethernet: up", timeout=20)
        wait_until(lambda: connected(broker, 2), 30)


class Portal:
    """A web server for the probe: what it answers is what the network lets through."""

    def __init__(self) -> None:
        self.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
        self.asked = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                with peer:
                    peer.recv(4096)
                    self.asked += 1
                    peer.sendall(self.answer)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def portal() -> Iterator[Portal]:
    served = Portal()
    yield served
    served.close()


POINTS = (
    AccessPoint("cafe", "password1", rssi_dbm=-50),
    AccessPoint("home", "password2", rssi_dbm=-70, bssid="0200000000aa", channel=11),
)
KNOWN = (Wifi("cafe", "password1", priority=2), Wifi("home", "password2", priority=1))


def aired(workshop: Workshop, broker: Broker, portal: Portal, **options: Any) -> SimBoard:
    hosts = {"probe.test": f"127.0.0.1:{portal.port}"}
    wiring = Wiring(access_points=POINTS, hosts=hosts)
    settings = settings_for(broker.port, wifi=KNOWN)
    return workshop.make("esp32_generic", settings, wiring=wiring, heap=400_000, **options)


def test_a_captive_portal_is_noticed_and_the_next_network_taken(
    shop: Workshop, broker: Broker, portal: Portal
) -> None:
    """And MQTT 5 is spoken, because product.toml says so."""
    portal.answer = b"HTTP/1.1 302 Found\r\nLocation: http://login.test/\r\n\r\n"
    with aired(shop, broker, portal) as board:
        board.wait_for("line:wifi: a captive portal is in the way", timeout=40)
        portal.answer = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
        board.wait_for("line:wifi: joined home", timeout=30)
        wait_until(lambda: connected(broker), 30)
    assert "as dev-1 (p5" in broker.log
    assert portal.asked >= 2


def test_networks_by_priority_and_the_next_when_one_is_gone(
    shop: Workshop, broker: Broker, portal: Portal
) -> None:
    with aired(shop, broker, portal) as board:
        board.wait_for("line:wifi: joined cafe", timeout=40)
        wait_until(lambda: connected(broker), 30)
        board.world["wifi.0.up"] = 0
        board.wait_for("line:wifi: joined home", timeout=40)
        wait_until(lambda: connected(broker, 2), 30)


def test_dead_dns_is_a_deadline_and_then_a_memory(
    shop: Workshop, broker: Broker, portal: Portal
) -> None:
    """No name server: said after ten seconds, without a watchdog's bite. Once the name was found,
    a dead name server does not keep the node from coming back."""
    with aired(shop, broker, portal) as board:
        board.world["dns.up"] = 0
        board.wait_for("line:mqtt: dns_timeout", timeout=60)
        board.world["dns.up"] = 1
        wait_until(lambda: connected(broker), 40)
        board.world["dns.up"] = 0
        broker.kill()
        board.wait_for("line:mqtt: ", timeout=20)
        broker.start()
        wait_until(lambda: connected(broker, 2), 60)
        assert board.resets == ["power_on"]


def test_other_networks_over_usb(
    shop: Workshop,
    broker: Broker,
    portal: Portal,
    outpost: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A provisioned board that knows only a network that is gone is told another one."""
    wiring = Wiring(access_points=POINTS, hosts={"probe.test": f"127.0.0.1:{portal.port}"})
    settings = settings_for(broker.port, wifi=(Wifi("gone", "password0"),))
    monkeypatch.setenv("OUTPOST_WIFI_PSK", "password2")
    with shop.make("esp32_generic", settings, wiring=wiring, heap=400_000) as board:
        board.wait_for("main", timeout=20)
        done = outpost(
            "wifi", "--port", board.repl(), "--ssid", "home", "--priority", "5", "--add", "--json"
        )
        assert done.exit_code == 0, done.stderr
        assert done.json["result"] == {"device": "dev-1", "wifi": ["home", "gone"]}
        assert "password2" not in done.stdout + done.stderr
        board.wait_for("line:wifi: joined home", timeout=40)
        wait_until(lambda: connected(broker), 30)
