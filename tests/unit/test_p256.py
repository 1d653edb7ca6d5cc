"""P-256 against published vectors, on both interpreters."""

import binascii
import hashlib
import unittest

from node.core import p256

# RFC 6979 appendix A.2.5: the key, its point, and the signatures with SHA-256.
_X = binascii.unhexlify("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721")
_UX = "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"
_UY = "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"
_SIGNATURES = (
    (
        b"sample",
        0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
        0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
    ),
    (
        b"test",
        0xF1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367,
        0x019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083,
    ),
)
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_GX = 0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296
_GY = 0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5


class Counter:
    """A random source with a known stream: SHA-256 of a counter."""

    def __init__(self):
        self.calls = 0
        self.taken = 0

    def __call__(self, size):
        self.calls += 1
        self.taken += size
        out = b""
        while len(out) < size:
            out += hashlib.sha256(b"%d-%d" % (self.calls, len(out))).digest()
        return out[:size]


def affine_add(a, b):
    """Textbook addition, independent of the module's Jacobian formulas."""
    if a == b:
        slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], _P - 2, _P)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], _P - 2, _P)
    x = (slope * slope - a[0] - b[0]) % _P
    return x, (slope * (a[0] - x) - a[1]) % _P


def point(scalar):
    raw = p256.public_key(scalar.to_bytes(32, "big"))
    return int.from_bytes(raw[1:33], "big"), int.from_bytes(raw[33:], "big")


class Points(unittest.TestCase):
    def test_rfc6979_public_key(self):
        raw = p256.public_key(_X)
        self.assertEqual(raw, binascii.unhexlify("04" + _UX + _UY))

    def test_small_multiples(self):
        expected = (_GX, _GY)
        for k in range(1, 20):
            self.assertEqual(point(k), expected)
            expected = affine_add(expected, (_GX, _GY))

    def test_every_comb_entry(self):
        base = (_GX, _GY)
        teeth = []
        for _ in range(4):
            teeth.append(base)
            for _ in range(64):
                base = affine_add(base, base)
        for index in range(1, 16):
            expected = None
            scalar = 0
            for tooth in range(4):
                if index >> tooth & 1:
                    scalar |= 1 << (64 * tooth)
                    expected = affine_add(expected, teeth[tooth]) if expected else teeth[tooth]
            self.assertEqual(point(scalar), expected)

    def test_minus_g(self):
        self.assertEqual(point(_N - 1), (_GX, _P - _GY))

    def test_sums_agree(self):
        a = int.from_bytes(hashlib.sha256(b"a").digest(), "big") % _N
        b = int.from_bytes(hashlib.sha256(b"b").digest(), "big") % _N
        self.assertEqual(point((a + b) % _N), affine_add(point(a), point(b)))


class Signatures(unittest.TestCase):
    def test_rfc6979_vectors(self):
        for message, r, s in _SIGNATURES:
            self.assertEqual(p256.sign(_X, hashlib.sha256(message).digest()), (r, s))

    def test_digest_above_the_order(self):
        r, s = p256.sign(_X, b"\xff" * 32)
        self.assertTrue(0 < r < _N and 0 < s < _N)

    def test_hmac_rfc4231_case_2(self):
        expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        mac = p256.hmac_sha256(b"Jefe", b"what do ya want for nothing?")
        self.assertEqual(binascii.hexlify(mac), expected.encode())


class Entropy(unittest.TestCase):
    def test_takes_at_least_256_raw_bytes(self):
        source = Counter()
        self.assertEqual(len(p256.conditioned(source)), 32)
        self.assertGreater(source.taken, 255)

    def test_personal_separates_devices_with_the_same_stream(self):
        self.assertNotEqual(
            p256.private_key(Counter(), b"one"), p256.private_key(Counter(), b"two")
        )

    def test_a_stuck_source_makes_no_key(self):
        for stuck in (bytes(64), b"\xff" * 64, bytes(range(64))):
            with self.assertRaises(p256.EntropyError):
                p256.private_key(lambda size, stuck=stuck: stuck[:size])

    def test_a_short_answer_makes_no_key(self):
        source = Counter()
        with self.assertRaises(p256.EntropyError):
            p256.private_key(lambda size: source(size - 1))


if __name__ == "__main__":
    unittest.main()
