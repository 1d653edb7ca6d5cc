"""loader.record: small files, replaced whole, found damaged."""

import os
import unittest

from loader import cbor, record
from loaderbox import Box


class TestFiles(unittest.TestCase):
    def setUp(self):
        self.box = Box()
        self.path = self.box.base + "/file"

    def tearDown(self):
        self.box.close()

    def test_write_and_read(self):
        self.assertEqual(record.read(self.path), b"")
        for data in (b"one", b"two longer", b"", b"x" * 8192):
            record.write(self.path, data)
            self.assertEqual(record.read(self.path), data)

    def test_nothing_is_left_beside(self):
        record.write(self.path, b"data")
        self.assertEqual(sorted(os.listdir(self.box.base)), ["file", "outpost"])

    def test_the_same_bytes_are_not_written_again(self):
        record.write(self.path, b"data")
        self.box.write("/file~", b"untouched")
        record.write(self.path, b"data")
        self.assertEqual(self.box.read("/file~"), b"untouched")
        record.write(self.path, b"other")
        self.assertIsNone(self.box.read("/file~"))

    def test_a_large_file_is_cut_short(self):
        self.box.write("/file", bytes(20000))
        self.assertEqual(len(record.read(self.path)), 8193)

    def test_maps(self):
        for value in ({}, {"a": [1, b"x"]}, [1], None):
            record.write_map(self.path, value)
            self.assertEqual(record.read_map(self.path), value)

    def test_damage_is_found(self):
        record.write_map(self.path, {"a": [1, b"xyz"], "b": {"c": 2**40}})
        size = len(self.box.read("/file"))
        for index in range(size):
            self.box.flip("/file", index)
            self.assertIsNone(record.read_map(self.path))
            self.box.flip("/file", index)
        data = self.box.read("/file")
        for cut in range(size):
            self.box.write("/file", data[:cut])
            self.assertIsNone(record.read_map(self.path))

    def test_a_map_that_is_not_cbor(self):
        body = b"\xff"
        self.box.write("/file", record.cbor.sha256(body)[:8] + body)
        self.assertIsNone(record.read_map(self.path))

    def test_defaults(self):
        first = {"confirmed": 0, "trial": [], "floor": [0, 0], "failed": [], "heads": {}}
        self.assertEqual(record.load(self.path), first)
        self.box.write("/file", b"garbage")
        self.assertEqual(record.load(self.path), first)
        record.write_map(self.path, dict(first, confirmed=1))
        self.assertEqual(record.load(self.path)["confirmed"], 1)
        self.assertTrue(cbor.encode(record.load(self.path)))
