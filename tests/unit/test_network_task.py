"""The network task: the policy's actions reach the radio, and the probe's word reaches the
policy."""

import asyncio
import unittest

from node.core import wifi
from node.core.log import Log
from node.core.wifi import Network, WifiPolicy
from node.tasks.network import NetworkTask

if not hasattr(asyncio, "sleep_ms"):  # CPython

    async def _sleep_ms(ms):
        await asyncio.sleep(ms / 1000)

    asyncio.sleep_ms = _sleep_ms

APS = [("home", b"\x01" * 6, 6, -60), ("cafe", b"\x02" * 6, 1, -50)]


class FakeRadio:
    """Joins whatever it is told to; remembers what it was told."""

    def __init__(self):
        self.did = []
        self.link = wifi.IDLE
        self.broken = False

    def apply(self, action, argument):
        self.did.append((action, argument.network.ssid if argument else None))
        if self.broken:
            raise OSError(5)
        if action == wifi.SCAN:
            return APS
        self.link = wifi.UP if action == wifi.JOIN else wifi.IDLE
        return None

    def status(self):
        return self.link


class TestNetworkTask(unittest.TestCase):
    def run_task(self, rounds, probe=None, broken=False):
        self.now_ms = 0
        left = [rounds]
        networks = [Network("cafe", "p" * 8), Network("home", "p" * 8)]
        self.policy = WifiPolicy(networks, lambda n: 0, None, probe is not None)
        self.radio = FakeRadio()
        self.radio.broken = broken
        self.cached = []
        self.log = Log(self.uptime_ms)
        self.task = NetworkTask(
            self.policy, self.radio, self.uptime_ms, self.log, self.cached.append
        )
        self.task.probe = probe

        class Enough(Exception):
            pass

        def beat():
            left[0] -= 1
            if left[0] < 0:
                raise Enough

        async def go():
            try:
                await self.task.run(beat)
            except Enough:
                pass

        asyncio.run(go())

    def uptime_ms(self):
        self.now_ms += 50
        return self.now_ms

    def test_scans_joins_and_remembers(self):
        self.run_task(4)
        self.assertEqual(self.radio.did[:2], [(wifi.SCAN, None), (wifi.JOIN, "cafe")])
        self.assertTrue(self.task.up)
        self.assertEqual(self.cached, [("cafe", b"\x02" * 6, 1)])

    def test_a_portal_sends_it_on(self):
        async def probe(beat):
            joined = self.policy.joining.network.ssid
            return wifi.PORTAL_CAPTIVE if joined == "cafe" else wifi.PORTAL_OPEN

        self.run_task(6, probe)
        self.assertEqual(self.radio.did[-1], (wifi.JOIN, "home"))
        self.assertTrue(self.task.up)
        self.assertTrue(b"captive portal" in self.log.tail(2048))

    def test_a_radio_that_fails_does_not_end_the_task(self):
        self.run_task(5, broken=True)
        self.assertFalse(self.task.up)
        self.assertTrue(b"wifi: scan failed" in self.log.tail(2048))
