"""Boards with a W5500: what MicroPython's two drivers offer there, and our hal over both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

HAL = Path(__file__).resolve().parents[2] / "firmware" / "node" / "hal" / "ethernet.py"
BOARDS = ("esp32_w5500", "w5500_evb_pico")
START = """
import sys, time, asyncio
sys.path.append('/')
from ethernet import Ethernet
DATA = %r
class Log:
    def info(self, text): print('log', text)
class Beat:
    count = 0
    def __call__(self): Beat.count += 1
def make(static=None):
    return Ethernet(DATA, 'dev-1', static)
def bring_up(station):
    joining = station.joining(Log())
    asyncio.run(joining.run(Beat()))
    return joining
"""


def data(name: str) -> dict[str, Any]:
    from outpost.boards import load_board
    from outpost.build.configure import board_map

    wire: dict[str, Any] = board_map(load_board(name))["ethernet"]
    return wire


def program(name: str, text: str) -> str:
    return START % (data(name),) + text + "\nprint('done')\n"


def lines(boards: Any, name: str, text: str, **options: Any) -> list[str]:
    files = {"/ethernet.py": HAL.read_bytes()}
    board = boards(name, program(name, text), files=files, time="fast", **options)
    board.wait_for("line:done", timeout=30)
    return list(board.lines)[: list(board.lines).index("done")]


@pytest.mark.parametrize("name", BOARDS)
def test_link_lease_and_off(boards: Any, name: str) -> None:
    told = lines(
        boards,
        name,
        """
s = make()
print('before', s.joined(), s.rssi())
j = bring_up(s)
print('up', j.up, s.joined(), s.nic().ifconfig()[0][:9], s.nic().ifconfig()[3], Beat.count > 5)
s.off()
print('off', s.joined())
""",
    )
    assert told == [
        "before False None",
        "log ethernet: up",
        "up True True 192.168.4 192.168.4.1 True",
        "off False",
    ]


@pytest.mark.parametrize("name", BOARDS)
def test_static_address(boards: Any, name: str) -> None:
    told = lines(
        boards,
        name,
        """
s = make(['10.1.2.3', '255.255.255.0', '10.1.2.1', '10.1.2.53'])
bring_up(s)
print('static', s.nic().ifconfig()[0], s.nic().ifconfig()[3])
""",
    )
    assert told[-1] == "static 10.1.2.3 10.1.2.53"


@pytest.mark.parametrize("name", BOARDS)
def test_cable_out_and_in(boards: Any, name: str) -> None:
    """Out for a minute, longer than a lease is waited for: the chip is started anew meanwhile."""
    from outpost.sim.scenario import Interval, Scenario

    out = Scenario(days=0.01, intervals=(Interval("eth.up", 0, start_s=20, duration_s=60),))
    told = lines(
        boards,
        name,
        """
s = make()
bring_up(s)
while s.joined(): time.sleep_ms(100)
print('lost', 19 <= time.ticks_ms() // 1000 <= 21)
bring_up(s)
print('again', s.joined(), 80 <= time.ticks_ms() // 1000 <= 90)
""",
        scenario=out,
    )
    assert told == ["log ethernet: up", "lost True", "log ethernet: up", "again True True"]


def test_a_wrong_pin_is_no_network(boards: Any) -> None:
    told = lines(
        boards,
        "w5500_evb_pico",
        """
DATA['cs'] = 13
try: make().start()
except OSError as e: print('error', e.args[0])
import network
print(hasattr(network, 'WLAN'), hasattr(network, 'LAN'))
""",
    )
    assert told == ["error no W5500 answers: cs", "False False"]


def test_a_plain_socket_needs_nothing(boards: Any) -> None:
    """A network that is there before the program starts: no interface to make or wait for."""
    told = lines(
        boards,
        "esp32_w5500",
        """
DATA['kind'] = 'present'
s = make()
bring_up(s)
print('there', s.joined(), s.rssi(), s.nic(), 'network' in sys.modules)
s.off()
print('still', s.joined())
""",
    )
    assert told == ["log ethernet: up", "there True None None True", "still True"]
