"""loader.cbor: RFC 8949's own vectors, one encoding per value, and hostile bytes."""

import unittest

from loader import cbor
from loader.cbor import VerifyError

# RFC 8949 appendix A, those of our types
VECTORS = (
    (0, "00"),
    (1, "01"),
    (10, "0a"),
    (23, "17"),
    (24, "1818"),
    (25, "1819"),
    (100, "1864"),
    (1000, "1903e8"),
    (1000000, "1a000f4240"),
    (1000000000000, "1b000000e8d4a51000"),
    (18446744073709551615, "1bffffffffffffffff"),
    (-18446744073709551616, "3bffffffffffffffff"),
    (-1, "20"),
    (-10, "29"),
    (-100, "3863"),
    (-1000, "3903e7"),
    (False, "f4"),
    (True, "f5"),
    (None, "f6"),
    (b"", "40"),
    (b"\x01\x02\x03\x04", "4401020304"),
    ("", "60"),
    ("a", "6161"),
    ("IETF", "6449455446"),
    ("\u00fc", "62c3bc"),
    ("\u6c34", "63e6b0b4"),
    ([], "80"),
    ([1, [2, 3], [4, 5]], "8301820203820405"),
    ({}, "a0"),
    ({1: 2, 3: 4}, "a201020304"),
    ({"a": 1, "b": [2, 3]}, "a26161016162820203"),
)
REFUSED = (
    ("", "cbor-short"),
    ("18", "cbor-short"),
    ("19ff", "cbor-short"),
    ("43aabb", "cbor-short"),
    ("5bffffffffffffffff", "cbor-short"),  # a byte string of 16 EiB
    ("9bffffffffffffffff00", "cbor-short"),  # an array of as many
    ("bb7fffffffffffffff", "cbor-short"),
    ("9a00ffffff" + "00" * 40, "cbor-short"),
    ("1817", "cbor-minimal"),
    ("1900ff", "cbor-minimal"),
    ("1a0000ffff", "cbor-minimal"),
    ("1b00000000ffffffff", "cbor-minimal"),
    ("580161", "cbor-minimal"),
    ("3801", "cbor-minimal"),
    ("9f01ff", "cbor-form"),  # indefinite array
    ("5f4101ff", "cbor-form"),
    ("bf6101ff", "cbor-form"),
    ("1c", "cbor-form"),
    ("1f", "cbor-form"),
    ("ff", "cbor-form"),
    ("f7", "cbor-form"),  # undefined
    ("e0", "cbor-form"),
    ("f93c00", "cbor-form"),  # floats
    ("fa47c35000", "cbor-form"),
    ("fb3ff199999999999a", "cbor-form"),
    ("c11a514b67b0", "cbor-form"),  # a tag
    ("d862 80", "cbor-form"),
    ("a1f401", "cbor-form"),  # false as a key
    ("a1800 1", "cbor-form"),
    ("a1a00 1", "cbor-form"),
    ("a2 0101 0102", "cbor-order"),
    ("a2 0201 0102", "cbor-order"),
    ("a2 616201 616102", "cbor-order"),
    ("a2 62616101 616202", "cbor-order"),  # the longer key first
    ("a2 6161 01 6161 02", "cbor-order"),
    ("61ff", "cbor-text"),
    ("62c328", "cbor-text"),
    ("0000", "cbor-trailing"),
    ("80f6", "cbor-trailing"),
    ("8181818181818100", "cbor-limit"),
    ("a100a100a100a100a100a100a10000", "cbor-limit"),
)


def unhex(text):
    return bytes([int(text[i : i + 2], 16) for i in range(0, len(text), 2)])


def code_of(data, view=False):
    try:
        cbor.decode(data, view)
    except VerifyError as error:
        return error.code
    return None


class TestVectors(unittest.TestCase):
    def test_both_ways(self):
        for value, text in VECTORS:
            self.assertEqual(cbor.encode(value), unhex(text))
            decoded = cbor.decode(unhex(text))
            self.assertEqual(decoded, value)
            self.assertIs(type(decoded), type(value))

    def test_refused(self):
        for text, code in REFUSED:
            self.assertEqual((text, code_of(unhex(text.replace(" ", "")))), (text, code))

    def test_a_huge_length_in_an_array_within_an_array(self):
        self.assertEqual(
            code_of(b"\x82\x00" * 4 + b"\x9b\x00\x00\x00\x01\x00\x00\x00\x00"), "cbor-short"
        )

    def test_many_items(self):
        self.assertEqual(code_of(b"\x99\x04\x00" + bytes(1024)), "cbor-limit")
        self.assertEqual(len(cbor.decode(b"\x99\x03\xff" + bytes(1023))), 1023)


class TestEncode(unittest.TestCase):
    def test_map_order_is_that_of_the_encodings(self):
        value = {"b": 1, "aa": 2, 10: 3, -1: 4, 100: 5, b"z": 6}
        encoded = cbor.encode(value)
        self.assertEqual(encoded, unhex("a60a0318640520044 17a066162016261 6102".replace(" ", "")))
        self.assertEqual(cbor.decode(encoded), value)

    def test_other_buffers(self):
        self.assertEqual(cbor.encode(bytearray(b"ab")), b"\x42ab")
        self.assertEqual(cbor.encode(memoryview(b"abc")[1:]), b"\x42bc")
        self.assertEqual(cbor.encode((1, 2)), b"\x82\x01\x02")

    def test_what_it_cannot_encode(self):
        self.assertRaises(TypeError, cbor.encode, object())
        self.assertRaises(TypeError, cbor.encode, [1.5])

    def test_lengths_around_every_step(self):
        for size in (0, 23, 24, 255, 256, 65535, 65536):
            value = b"x" * size
            self.assertEqual(cbor.decode(cbor.encode(value)), value)

    def test_integers_around_every_step(self):
        for bits in (0, 4, 5, 8, 16, 30, 31, 32, 63):
            for value in ((1 << bits) - 1, 1 << bits, -(1 << bits), -(1 << bits) - 1):
                self.assertEqual(cbor.decode(cbor.encode(value)), value)


class TestView(unittest.TestCase):
    def test_byte_strings_are_not_copied(self):
        data = bytearray(b"\x82\x42ab\x42cd")
        first, second = cbor.decode(data, True)
        data[2] = ord("x")
        self.assertEqual(bytes(first), b"xb")
        self.assertEqual(bytes(second), b"cd")

    def test_and_cannot_be_keys(self):
        self.assertEqual(code_of(b"\xa1\x41a\x00", True), "cbor-form")


class TestCheck(unittest.TestCase):
    def test_fields(self):
        value = {"a": 1, "b": "x", "c": b"", "d": [], "e": {}, "more": None}
        self.assertIs(cbor.check(value, "a int b str c bytes d list e dict"), value)

    def test_refusals(self):
        for value in (None, [], 1, {}, {"a": None}, {"a": True}, {"a": "1"}):
            self.assertRaises(VerifyError, cbor.check, value, "a int")


class TestHostile(unittest.TestCase):
    """Every prefix and every flipped bit: a VerifyError, or another value in its one encoding."""

    SAMPLE = {
        "k": [0, -1, 300, 70000, 2**40, None, True],
        "text": "\u6c34",
        7: b"x" * 30,
        -8: {1: {}},
    }

    def test_prefixes(self):
        data = cbor.encode(self.SAMPLE)
        for size in range(len(data)):
            self.assertEqual(code_of(data[:size]), "cbor-short")

    def test_flips(self):
        data = bytearray(cbor.encode(self.SAMPLE))
        refused = 0
        for index in range(len(data)):
            for bit in range(8):
                data[index] ^= 1 << bit
                try:
                    self.assertEqual(cbor.encode(cbor.decode(data)), bytes(data))
                except VerifyError:
                    refused += 1
                data[index] ^= 1 << bit
        self.assertGreater(refused, len(data))
