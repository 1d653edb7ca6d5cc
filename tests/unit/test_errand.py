"""The errand: sent once, further and further apart when it comes to nothing, damaged or not."""

import unittest

from loader import cbor
from node.core.errand import PATH, Errand


class _Storage:
    def __init__(self):
        self.files = {}

    def read(self, path):
        return self.files.get(path)

    def write_atomic(self, path, data):
        self.files[path] = bytes(data)


class TestErrand(unittest.TestCase):
    def setUp(self):
        self.storage = _Storage()

    def next_boot(self):
        return Errand(self.storage)

    def test_nothing_is_due_without_a_file(self):
        errand = self.next_boot()
        self.assertFalse(errand.due)
        self.assertEqual((errand.tries, errand.told, errand.wait_s()), (0, [], 0))

    def test_it_is_sent_once(self):
        self.next_boot().send(1700000000)
        errand = self.next_boot()
        self.assertTrue(errand.due)
        self.assertEqual(errand.unix_s, 1700000000)
        errand.begin()  # and whatever happens from here on
        self.assertFalse(self.next_boot().due)

    def test_what_comes_to_nothing_is_further_and_further_apart(self):
        waits = []
        for _ in range(12):
            self.next_boot().send(None)
            self.next_boot().begin()
            waits.append(self.next_boot().wait_s())
        self.assertEqual(waits[:4], [300, 600, 1200, 2400])
        self.assertEqual(waits[-1], 86400)
        self.next_boot().succeeded()
        self.assertEqual(self.next_boot().wait_s(), 0)

    def test_a_refused_release_is_left_alone_until_somebody_comes(self):
        self.next_boot().begin()
        self.next_boot().refused(b"r" * 32)
        self.assertEqual(self.next_boot().settled, b"r" * 32)
        self.assertEqual(self.next_boot().wait_s(), 0)
        self.next_boot().powered_on()
        self.assertEqual(self.next_boot().settled, b"")

    def test_what_a_power_cut_ended_need_not_wait(self):
        self.next_boot().begin()
        self.assertEqual(self.next_boot().wait_s(), 300)
        self.next_boot().powered_on()
        self.assertEqual((self.next_boot().tries, self.next_boot().wait_s()), (0, 0))

    def test_what_is_told_is_kept_in_order_and_bounded(self):
        for number in range(20):
            self.next_boot().tell({"s": "offered", "n": number})
        told = self.next_boot().told
        self.assertEqual([body["n"] for body in told], list(range(8, 20)))
        self.next_boot().all_told()
        self.assertEqual(self.next_boot().told, [])

    def test_a_damaged_file_is_no_errand(self):
        good = {"go": True, "unix": 5, "tries": 1, "settled": b"", "told": [{}]}
        self.next_boot().send(5)
        whole = self.storage.files[PATH]
        bad = [whole[:n] for n in range(len(whole))]
        bad += [cbor.encode(value) for value in (7, [good], b"x", "go", None)]
        for key, value in (("go", 1), ("unix", "x"), ("tries", []), ("settled", 1), ("told", 5)):
            bad.append(cbor.encode(dict(good, **{key: value})))
        bad.append(cbor.encode(dict(good, told=[1, "x", None], tries=-4)))
        for data in bad:
            self.storage.files[PATH] = data
            errand = self.next_boot()
            self.assertIn(errand.due, (True, False))
            self.assertTrue(errand.wait_s() >= 0)
            self.assertTrue(all(isinstance(body, dict) for body in errand.told))
        self.storage.files[PATH] = cbor.encode(dict(good, go=1))
        self.assertFalse(self.next_boot().due)


if __name__ == "__main__":
    unittest.main()
