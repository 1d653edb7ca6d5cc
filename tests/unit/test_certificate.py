"""The end of a certificate, and authorities that lie one behind the other."""

import unittest

from node.core import certificate
from node.core.csr import der


def made(end, version=True):
    """As much of a certificate as is looked at: its end, (tag, text)."""
    validity = der(0x30, der(0x17, b"000101000000Z") + der(end[0], end[1]))
    fields = [der(0xA0, der(2, b"\x02"))] if version else []
    fields += [der(2, bytes(20)), der(0x30, b"\x06\x01\x00"), der(0x30, bytes(200)), validity]
    return der(0x30, der(0x30, b"".join(fields) + der(0x30, bytes(90))) + der(3, bytes(70)))


class NotAfter(unittest.TestCase):
    def test_both_forms_of_a_date(self):
        for tag, text, unix_s in (
            (0x17, b"700101000000Z", 0),
            (0x17, b"000229123456Z", 951827696),
            (0x17, b"491231235959Z", 2524607999),
            (0x18, b"20240229000000Z", 1709164800),
            (0x18, b"20240301000000Z", 1709251200),
            (0x18, b"20991231235959Z", 4102444799),
            (0x18, b"21000301000000Z", 4107542400),
        ):
            self.assertEqual(certificate.not_after(made((tag, text))), unix_s)
            self.assertEqual(certificate.not_after(made((tag, text), version=False)), unix_s)

    def test_what_is_no_certificate_is_refused(self):
        whole = made((0x17, b"491231235959Z"))
        for size in range(len(whole)):
            with self.assertRaises(ValueError):
                certificate.not_after(whole[:size])
        for text in (b"491331235959Z", b"4912312359590", b"Z"):
            with self.assertRaises(ValueError):
                certificate.not_after(made((0x17, text)))


class Split(unittest.TestCase):
    def test_one_or_several(self):
        one, two = made((0x17, b"491231235959Z")), der(0x30, bytes(10))
        self.assertEqual(certificate.split(b""), [])
        self.assertEqual(certificate.split(one), [one])
        self.assertEqual(certificate.split(one + two + one), [one, two, one])
        with self.assertRaises(ValueError):
            certificate.split(one + two[:-1])
