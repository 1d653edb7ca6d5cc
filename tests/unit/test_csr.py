"""Certificate requests and key files, byte by byte, on both interpreters.

tests/host/test_identity_x509.py has other people's X.509 code read the same bytes.
"""

import binascii
import hashlib
import unittest

from node.core import csr, p256

_PRIVATE = hashlib.sha256(b"a fixed key for a test of encodings").digest()
_KEY = csr.key_der(_PRIVATE)
_ID = "weather-2647-000001-x"


def element(data, at=0):
    """(tag, content, offset behind it) of the DER element at `at`."""
    size = data[at + 1]
    at2 = at + 2
    if size >= 0x80:
        count = size & 0x7F
        size = int.from_bytes(data[at2 : at2 + count], "big")
        at2 += count
    return data[at], data[at2 : at2 + size], at2 + size


class Der(unittest.TestCase):
    def test_length_forms(self):
        self.assertEqual(csr.der(4, bytes(127))[:2], b"\x04\x7f")
        self.assertEqual(csr.der(4, bytes(128))[:3], b"\x04\x81\x80")
        self.assertEqual(csr.der(4, bytes(255))[:3], b"\x04\x81\xff")
        self.assertEqual(csr.der(4, bytes(256))[:4], b"\x04\x82\x01\x00")

    def test_integers_are_shortest_and_positive(self):
        for value, expected in (
            (0, "020100"),
            (127, "02017f"),
            (128, "02020080"),
            (256, "02020100"),
        ):
            self.assertEqual(csr._integer(value), binascii.unhexlify(expected))
        self.assertEqual(len(csr._integer(1 << 255)), 2 + 33)


class Request(unittest.TestCase):
    def test_structure(self):
        request = csr.request(_KEY, _ID)
        tag, body, end = element(request)
        self.assertEqual((tag, end), (0x30, len(request)))
        tag, info, at = element(body)
        self.assertEqual(tag, 0x30)
        self.assertIn(_ID.encode(), info)
        self.assertIn(p256.public_key(_PRIVATE), info)
        self.assertEqual(info[-2:], b"\xa0\x00")
        _, algorithm, at = element(body, at)
        self.assertEqual(len(algorithm), 10)
        tag, _, at = element(body, at)
        self.assertEqual((tag, at), (0x03, len(body)))

    def test_signature_is_over_the_request_info(self):
        request = csr.request(_KEY, _ID)
        _, body, _ = element(request)
        _, _, info_end = element(body)
        r, s = p256.sign(_PRIVATE, hashlib.sha256(body[:info_end]).digest())
        self.assertIn(csr._integer(r) + csr._integer(s), request)

    def test_same_key_same_request(self):
        self.assertEqual(csr.request(_KEY, _ID), csr.request(_KEY, _ID))


class KeyFile(unittest.TestCase):
    def test_round_trip(self):
        key = _KEY
        self.assertEqual(len(key), 138)
        self.assertEqual(csr.private_of(key), _PRIVATE)
        self.assertEqual(csr.public_of(key), p256.public_key(_PRIVATE))

    def test_anything_else_is_refused(self):
        key = _KEY
        for bad in (b"", key[:-1], key + b"\x00", key[40:], bytes(138)):
            with self.assertRaises(ValueError):
                csr.private_of(bad)

    def test_certifies_compares_the_whole_key(self):
        key = _KEY
        carries = b"\x30\x82" + csr.request(_KEY, _ID)
        self.assertTrue(csr.certifies(carries, key))
        other = csr.key_der(hashlib.sha256(b"another").digest())
        self.assertFalse(csr.certifies(carries, other))


if __name__ == "__main__":
    unittest.main()
