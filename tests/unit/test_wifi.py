"""The Wi-Fi policy, driven with a fake clock and a fake radio."""

import unittest

from node.core import wifi
from node.core.wifi import Network, WifiPolicy

AP_HOME = ("home", b"\x01" * 6, 6, -60)
AP_HOME_FAR = ("home", b"\x02" * 6, 11, -85)
AP_SHED = ("shed", b"\x03" * 6, 1, -50)


def policy(networks, cached=None, probe=False, jitter=lambda n: n - 1):
    return WifiPolicy(networks, jitter, cached, probe)


class TestConfig(unittest.TestCase):
    def test_reads_networks_and_leaves_bad_ones_out(self):
        found = wifi.networks_from(
            [
                {"ssid": "home", "psk": "secret-passphrase", "prio": 2},
                {"ssid": "", "psk": "secret-passphrase"},
                {"ssid": "x" * 33},
                {"ssid": "short", "psk": "1234567"},
                "not a map",
                {"ssid": "open"},
            ]
        )
        self.assertEqual([n.ssid for n in found], ["home", "open"])
        self.assertEqual(found[0].priority, 2)

    def test_passphrase_is_not_in_the_repr(self):
        self.assertFalse("secret" in repr(Network("home", "secret-passphrase")))

    def test_static_address(self):
        address = ["10.0.0.2", "255.255.255.0", "10.0.0.1", "10.0.0.1"]
        found = wifi.networks_from([{"ssid": "home", "static": address}])
        self.assertEqual(found[0].static, tuple(address))


class TestJoin(unittest.TestCase):
    def test_scan_then_best_by_priority_then_signal(self):
        p = policy([Network("home", "p" * 8), Network("shed", "p" * 8, priority=1)])
        p.start(0)
        self.assertEqual(p.next_action(), (wifi.SCAN, None))
        p.scanned([AP_HOME_FAR, AP_HOME, AP_SHED], 10)
        verb, join = p.next_action()
        self.assertEqual((verb, join.network.ssid, join.channel), (wifi.JOIN, "shed", 1))
        p.status(wifi.FAILED, 20)
        verb, join = p.next_action()
        self.assertEqual((join.network.ssid, join.bssid), ("home", AP_HOME[1]))
        p.status(wifi.UP, 30)
        self.assertTrue(p.up)
        self.assertEqual(p.cache, ("home", AP_HOME[1], 6))

    def test_cached_access_point_first_without_a_scan(self):
        p = policy([Network("home", "p" * 8)], cached=("home", b"\x01" * 6, 6))
        p.start(0)
        verb, join = p.next_action()
        self.assertEqual((verb, join.bssid, join.channel), (wifi.JOIN, b"\x01" * 6, 6))

    def test_cached_access_point_gone_means_a_scan_not_a_pause(self):
        p = policy([Network("home", "p" * 8)], cached=("home", b"\x01" * 6, 6))
        p.start(0)
        p.next_action()
        deadline = p.tick(0)
        p.tick(deadline)
        self.assertEqual(p.next_action(), (wifi.SCAN, None))
        self.assertFalse(p.waiting)

    def test_cache_of_a_network_no_longer_configured_is_ignored(self):
        p = policy([Network("home", "p" * 8)], cached=("gone", b"\x01" * 6, 6))
        p.start(0)
        self.assertEqual(p.next_action(), (wifi.SCAN, None))

    def test_hidden_network_is_tried_last_and_without_bssid(self):
        p = policy([Network("attic", "p" * 8, hidden=True), Network("home", "p" * 8)])
        p.start(0)
        p.next_action()
        p.scanned([AP_HOME], 10)
        self.assertEqual(p.next_action()[1].network.ssid, "home")
        p.status(wifi.NO_NETWORK, 20)
        join = p.next_action()[1]
        self.assertEqual((join.network.ssid, join.bssid), ("attic", None))

    def test_very_weak_access_point_comes_after_a_good_one(self):
        weak = ("home", b"\x01" * 6, 6, -95)
        p = policy([Network("home", "p" * 8, priority=9), Network("shed", "p" * 8)])
        p.start(0)
        p.next_action()
        p.scanned([weak, AP_SHED], 10)
        self.assertEqual(p.next_action()[1].network.ssid, "shed")

    def test_a_join_without_answer_ends_at_its_deadline(self):
        p = policy([Network("home", "p" * 8)])
        p.start(0)
        p.next_action()
        p.scanned([AP_HOME], 0)
        p.next_action()
        deadline = p.tick(0)
        self.assertTrue(0 < deadline <= 20000)
        p.tick(deadline)
        self.assertTrue(p.waiting)


class TestBackoff(unittest.TestCase):
    def rounds(self, count, jitter):
        p = policy([Network("home", "p" * 8)], jitter=jitter)
        now = 0
        p.start(now)
        pauses, actions = [], []
        for _ in range(count):
            self.assertEqual(p.next_action(), (wifi.SCAN, None))
            p.scanned([], now)
            actions.append(p.next_action()[0])
            deadline = p.tick(now)
            pauses.append(deadline - now)
            now = deadline
            p.tick(now)
        return pauses, actions

    def test_pauses_grow_to_a_cap(self):
        pauses, _ = self.rounds(14, lambda n: n - 1)
        self.assertEqual(pauses, sorted(pauses))
        self.assertTrue(300000 <= pauses[-1] <= 302000)

    def test_jitter_is_full(self):
        pauses, _ = self.rounds(6, lambda n: 0)
        self.assertTrue(all(p == 1000 for p in pauses))

    def test_radio_is_power_cycled_every_fourth_round(self):
        _, actions = self.rounds(8, lambda n: 0)
        self.assertEqual(
            [a == wifi.RESTART for a in actions], [False] * 3 + [True] + [False] * 3 + [True]
        )

    def test_wrong_password_sits_out_but_is_tried_again(self):
        p = policy([Network("home", "p" * 8)])
        now = 0
        p.start(now)
        joins = 0
        for _ in range(12):
            p.next_action()
            p.scanned([AP_HOME], now)
            action = p.next_action()
            if action[0] == wifi.JOIN:
                joins += 1
                p.status(wifi.WRONG_PASSWORD, now)
                p.next_action()
            now = p.tick(now)
            p.tick(now)
        self.assertTrue(1 < joins < 6)


class TestUp(unittest.TestCase):
    def joined(self, probe=False):
        p = policy([Network("home", "p" * 8), Network("shed", "p" * 8)], probe=probe)
        p.start(0)
        p.next_action()
        p.scanned([AP_HOME, AP_SHED], 0)
        p.next_action()
        p.status(wifi.UP, 100)
        return p

    def test_loss_rejoins_the_same_access_point_at_once(self):
        p = self.joined()
        p.status(wifi.FAILED, 200)
        verb, join = p.next_action()
        self.assertEqual((verb, join.network.ssid), (wifi.JOIN, "shed"))
        self.assertEqual(p.losses, 1)

    def test_captive_portal_moves_on_to_the_next_network(self):
        p = self.joined(probe=True)
        self.assertEqual(p.next_action(), (wifi.PROBE, None))
        self.assertFalse(p.up)
        p.portal(wifi.PORTAL_CAPTIVE, 200)
        self.assertEqual(p.next_action()[1].network.ssid, "home")
        self.assertEqual(p.captive, 1)

    def test_probe_without_answer_is_not_a_portal(self):
        p = self.joined(probe=True)
        p.next_action()
        deadline = p.tick(100)
        p.tick(deadline)
        self.assertTrue(p.up)

    def test_stop_turns_the_radio_off(self):
        p = self.joined()
        p.stop()
        self.assertEqual(p.next_action(), (wifi.OFF, None))
        self.assertFalse(p.up)
