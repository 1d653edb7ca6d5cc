"""DNS questions and answers, whole, cut off and forged."""

import unittest

from node.core import dns
from node.core.errors import CallerError, PeerError

QUESTION = dns.query("broker.example", 0x1234)
HEAD = b"\x12\x34\x81\x80\0\1\0\2\0\0\0\0"
ALIAS = b"\xc0\x0c\0\5\0\1\0\0\0\x3c\0\4\1x\xc0\x13"
ADDRESS = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\x07"
REPLY = HEAD + QUESTION[12:] + ALIAS + ADDRESS


class Dns(unittest.TestCase):
    def test_question(self):
        self.assertEqual(QUESTION, b"\x12\x34\1\0\0\1\0\0\0\0\0\0\6broker\7example\0\0\1\0\1")

    def test_answer_behind_an_alias(self):
        self.assertEqual(dns.answer(REPLY, QUESTION), "192.0.2.7")

    def test_not_for_us(self):
        for data in (
            b"",
            REPLY[:20],
            b"\x12\x35" + REPLY[2:],
            REPLY[:2] + b"\1" + REPLY[3:],
            REPLY.replace(b"broker", b"brokes"),
        ):
            self.assertIsNone(dns.answer(data, QUESTION))

    def test_refused_empty_or_cut_off(self):
        for data in (
            REPLY[:3] + b"\x83" + REPLY[4:],
            HEAD[:7] + b"\0" + HEAD[8:] + QUESTION[12:],
            HEAD + QUESTION[12:] + ALIAS,
        ):
            with self.assertRaises(PeerError):
                dns.answer(data, QUESTION)

    def test_every_truncation_and_bit_flip_ends(self):
        for size in range(len(REPLY)):
            self.outcome(REPLY[:size])
        for at in range(len(REPLY)):
            for bit in range(8):
                data = bytearray(REPLY)
                data[at] ^= 1 << bit
                self.outcome(bytes(data))

    def outcome(self, data):
        try:
            return dns.answer(data, QUESTION)
        except PeerError:
            return None

    def test_hosts_that_cannot_be(self):
        for host in ("", "a..b", "x" * 64 + ".example", ".".join(["abcdefgh"] * 40)):
            with self.assertRaises(CallerError):
                dns.query(host, 1)


if __name__ == "__main__":
    unittest.main()
