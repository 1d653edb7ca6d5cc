"""The Wi-Fi policy over the real hal on both chips: every setting reaches the radio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from outpost.sim import AccessPoint, Wiring

NODE = Path(__file__).resolve().parents[2] / "firmware" / "node"
PARTS = ("core/wifi.py", "core/sntp.py", "hal/wifi.py", "hal/station.py", "tasks/network.py")
BOARDS = ("esp32_generic", "rpi_pico_w")
POINTS = (
    AccessPoint("strong", "password1", rssi_dbm=-40, channel=1),
    AccessPoint("best", "password2", rssi_dbm=-70, bssid="0200000000aa", channel=11),
    AccessPoint("secret", "password3", rssi_dbm=-60, bssid="0200000000bb", hidden=True),
)
PROGRAM = """
import sys, time, asyncio, network
sys.path.append('/')
from node.core import wifi
from node.hal.wifi import Radio
from node.hal.station import Station
from node.tasks.network import NetworkTask
class Log:
    def info(self, text): print(text)
    warning = info
def join(config, cache=None, pm=''):
    station = Station('DE', 'dev-1')
    policy = wifi.WifiPolicy(wifi.networks_from(config), lambda n: 0, cache)
    task = NetworkTask(policy, Radio('', '', station, pm), time.ticks_ms, Log(), lambda c: None)
    started = time.ticks_ms()
    asyncio.run(task.run(lambda: None))
    print('took', time.ticks_ms() - started)
    return station, policy
"""


def lines(boards: Any, name: str, text: str) -> list[str]:
    files = {f"/node/{part}": (NODE / part).read_bytes() for part in PARTS}
    for folder in ("", "core/", "hal/", "tasks/"):
        files[f"/node/{folder}__init__.py"] = b""
    wiring = Wiring(access_points=POINTS)
    program = PROGRAM + text + "\nprint('done')\n"
    board = boards(name, program, files=files, time="fast", wiring=wiring)
    board.wait_for("line:done", timeout=30)
    return list(board.lines)[: list(board.lines).index("done")]


def took_ms(told: list[str]) -> list[int]:
    return [int(line.split()[1]) for line in told if line.startswith("took")]


BEST = "{'ssid': 'best', 'psk': 'password2', 'prio': 2}"
STRONG = "{'ssid': 'strong', 'psk': 'password1', 'prio': 1}"


@pytest.mark.parametrize("name", BOARDS)
def test_priority_before_signal_and_country_and_power_save(boards: Any, name: str) -> None:
    told = lines(
        boards,
        name,
        f"""
station, policy = join([{STRONG}, {BEST}], None, 'none')
print(network.country(), network.hostname(), station.rssi())
print('pm', station.nic().config('pm') == network.WLAN.PM_NONE)
print(policy.cache)
""",
    )
    assert told[0] == "wifi: joined best"
    assert told[2:] == ["DE dev-1 -70", "pm True", r"('best', b'\x02\x00\x00\x00\x00\xaa', 11)"]


@pytest.mark.parametrize("name", BOARDS)
def test_a_hidden_network_with_a_static_address(boards: Any, name: str) -> None:
    told = lines(
        boards,
        name,
        """
station, policy = join([{'ssid': 'secret', 'psk': 'password3', 'hidden': True,
    'static': ['10.0.0.9', '255.255.255.0', '10.0.0.1', '10.0.0.53']}])
print(station.nic().ifconfig())
""",
    )
    assert told[0] == "wifi: joined secret"
    assert told[2] == "('10.0.0.9', '255.255.255.0', '10.0.0.1', '10.0.0.53')"


@pytest.mark.parametrize("name", BOARDS)
def test_dhcp_again_after_a_static_address(boards: Any, name: str) -> None:
    """On one interface: by ipconfig, since ifconfig("dhcp") waits for a lease on RP2."""
    told = lines(
        boards,
        name,
        """
from node.core.wifi import JOIN, UP, Join, Network
station = Station('DE', 'dev-1')
radio = Radio('', '', station)
fixed, free = Network('best', 'password2'), Network('strong', 'password1')
fixed.static = ('10.0.0.9', '255.255.255.0', '10.0.0.1', '10.0.0.53')
for network in (fixed, free, free):
    radio.apply(JOIN, Join(network, None, None))
    while radio.status() != UP: time.sleep_ms(50)
    print(station.nic().ifconfig()[0][:8])
print(time.ticks_ms() < 9000)
""",
    )
    assert told == ["10.0.0.9", "192.168.", "192.168.", "True"]


@pytest.mark.parametrize("name", BOARDS)
def test_the_cached_access_point_is_joined_without_a_scan(boards: Any, name: str) -> None:
    told = lines(
        boards,
        name,
        f"""
station, policy = join([{BEST}])
station.off()
join([{BEST}], policy.cache)
station.off()
join([{BEST}], ('best', b'123456', 3))  # the access point was replaced
""",
    )
    first, again, replaced = took_ms(told)
    assert again < first - 1000, "the scan was not saved"  # which takes 1,500 ms
    assert replaced > again
    assert told.count("wifi: joined best") == 3
