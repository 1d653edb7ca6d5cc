"""The short conversation of a wake: one flight out, acknowledgements in, at every split."""

import unittest

from node.core.errors import PeerError
from node.core.mqtt.brief import Brief
from node.core.mqtt.codec import Options


def brief_of(count):
    brief = Brief(Options("dev-1"))
    for k in range(count):
        brief.add("t", b"%d" % k)
    return brief


def feed(brief, data, step):
    for at in range(0, len(data), step):
        piece = bytearray(data[at : at + step])
        brief.feed(piece, len(piece))


CONNACK = b"\x20\2\0\0"
PUBLISH = b"\x32\x08\0\1t\0\7abc"
LONG = b"\x30\xc8\1" + bytes(200)


class Conversation(unittest.TestCase):
    def test_first_publish_travels_with_connect(self):
        brief = brief_of(2)
        self.assertEqual(brief.out[0][0], 0x10)
        self.assertEqual(brief.out[0][19:], b"\x32\6\0\1t\0\x010")
        self.assertEqual(brief.out[1:], [b"\x32\6\0\1t\0\x021"])

    def test_every_split(self):
        data = CONNACK + b"\x40\2\0\1" + PUBLISH + b"\xd0\0" + b"\x40\2\0\3" + LONG + b"\x40\2\0\2"
        for step in range(1, 40):
            brief = brief_of(3)
            feed(brief, data, step)
            self.assertTrue(brief.done())
            self.assertEqual(brief.acked, [0, 2, 1])

    def test_strays_and_doubles(self):
        brief = brief_of(2)
        feed(brief, CONNACK + b"\x40\2\0\0" + b"\x40\2\0\3" + b"\x40\2\0\1" * 3, 5)
        self.assertEqual(brief.acked, [0])
        self.assertFalse(brief.done())

    def test_what_ends_it(self):
        for data, code in (
            (b"\x20\2\0\5", "refused"),
            (b"\x40\2\0\1", "order"),
            (PUBLISH, "malformed"),
            (CONNACK + b"\x30\xff\xff\xff\xff", "malformed"),
        ):
            with self.assertRaises(PeerError) as caught:
                feed(brief_of(1), data, 3)
            self.assertEqual(caught.exception.code, code)

    def test_any_garbage_ends(self):
        seed = 5
        for _ in range(300):
            data = bytearray(CONNACK + bytes(40))
            for k in range(4, 44):
                seed = (seed * 1103515245 + 12345) & 0x3FFFFFFF
                data[k] = seed >> 12 & 255
            try:
                feed(brief_of(3), bytes(data), 7)
            except PeerError as error:
                self.assertEqual(error.code, "malformed")


if __name__ == "__main__":
    unittest.main()
