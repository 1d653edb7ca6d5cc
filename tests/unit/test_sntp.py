"""SNTP replies, right and wrong; and the clock that believes or refuses them."""

import struct
import unittest

from node.core.clock import Clock
from node.core.sntp import SntpError, reply_ms, request

NONCE = b"\x11\x22\x33\x44\x55\x66\x77\x88"
NOW_S = 1790000000


def reply(unix_s=NOW_S, first=0x24, stratum=2, nonce=NONCE, fraction=1 << 31):
    ntp_s = (unix_s + 2208988800) & 0xFFFFFFFF
    return (
        bytes([first, stratum])
        + b"\0" * 22
        + nonce
        + b"\0" * 8
        + struct.pack(">II", ntp_s, fraction)
    )


class TestReply(unittest.TestCase):
    def code(self, packet):
        try:
            reply_ms(packet, NONCE)
        except SntpError as error:
            return error.code
        return None

    def test_request_is_a_client_packet_with_the_nonce(self):
        packet = request(NONCE)
        self.assertEqual((len(packet), packet[0], packet[40:]), (48, 0x23, NONCE))

    def test_good(self):
        self.assertEqual(reply_ms(reply(), NONCE), NOW_S * 1000 + 500)

    def test_after_the_era_ends_in_2036(self):
        self.assertEqual(reply_ms(reply(2100000000, fraction=0), NONCE), 2100000000000)

    def test_refusals(self):
        self.assertEqual(self.code(reply()[:47]), "short")
        self.assertEqual(self.code(reply(first=0x23)), "mode")
        self.assertEqual(self.code(reply(stratum=0)), "kiss")
        self.assertEqual(self.code(reply(first=0xE4)), "unsynchronised")
        self.assertEqual(self.code(reply(stratum=16)), "unsynchronised")
        self.assertEqual(self.code(reply(nonce=b"\0" * 8)), "not_ours")
        self.assertEqual(self.code(reply(unix_s=1000000000)), "bounds")


class TestClock(unittest.TestCase):
    def test_cold_clock_is_unknown(self):
        clock = Clock(0)
        self.assertIsNone(clock.unix_ms(1000))

    def test_no_chip_is_believed_before_it_was_set(self):
        """What a port's clock says after a reset that it did not run through: 1970, 2000, 2021."""
        for cold_s in (0, 946684800, 1609459200):
            clock = Clock(0)  # of a device that has never learnt the time
            self.assertFalse(clock.restore((cold_s + 7) * 1000, 7000))
            self.assertFalse(clock.known)
            self.assertEqual(clock.synced(NOW_S * 1000, 9000), "again")
            self.assertEqual(clock.synced(NOW_S * 1000 + 50, 9050), "ok")
            self.assertEqual(clock.unix_s(9050), NOW_S)

    def test_first_time_needs_two_that_agree(self):
        clock = Clock(0)
        self.assertEqual(clock.synced(NOW_S * 1000, 1000), "again")
        self.assertFalse(clock.known)
        self.assertEqual(clock.synced(NOW_S * 1000 + 700, 1500), "ok")
        self.assertEqual(clock.unix_s(2500), NOW_S + 1)

    def test_two_that_disagree_are_not_believed(self):
        clock = Clock(0)
        clock.synced(NOW_S * 1000, 1000)
        self.assertEqual(clock.synced((NOW_S + 90000) * 1000, 1500), "again")
        self.assertFalse(clock.known)

    def test_near_the_bound_one_is_enough(self):
        clock = Clock(NOW_S - 3600)
        self.assertEqual(clock.synced(NOW_S * 1000, 1000), "ok")

    def test_before_the_bound_is_refused(self):
        clock = Clock(NOW_S)
        self.assertEqual(clock.synced((NOW_S - 1) * 1000, 1000), "refused")
        self.assertEqual(clock.refused, 1)
        self.assertFalse(clock.restore((NOW_S - 1) * 1000, 0))

    def test_bound_is_saved_twice_a_day_at_most(self):
        clock = Clock(NOW_S)
        clock.synced((NOW_S + 100) * 1000, 0)
        self.assertIsNone(clock.bound_to_save())
        clock.synced((NOW_S + 50000) * 1000, 0)
        self.assertEqual(clock.bound_to_save(), NOW_S + 50000)
        self.assertIsNone(clock.bound_to_save())

    def test_drift_is_learnt_between_syncs_an_hour_apart(self):
        clock = Clock(NOW_S)
        clock.synced(NOW_S * 1000, 0)
        clock.synced(NOW_S * 1000 + 7200000 + 288, 7200000)
        self.assertEqual(clock.drift_ppm, 40)

    def test_restored_clock_teaches_no_drift(self):
        clock = Clock(NOW_S)
        self.assertTrue(clock.restore(NOW_S * 1000, 0))
        clock.synced(NOW_S * 1000 + 7200000 + 288, 7200000)
        self.assertIsNone(clock.drift_ppm)
