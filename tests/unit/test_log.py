"""The log ring: bounded, whole lines, printable."""

import unittest

from node.core.log import DEBUG, Log


class TestLog(unittest.TestCase):
    def setUp(self):
        self.lines = []
        self.log = Log(lambda: 12345, capacity=64, sink=self.lines.append)

    def test_line_form_and_sink(self):
        self.log.warning("wet")
        self.assertEqual(self.log.tail(100), b"12 W wet\n")
        self.assertEqual(self.lines, ["12 W wet"])

    def test_below_the_level_is_not_kept(self):
        self.log.debug("noise")
        self.assertEqual(self.log.tail(100), b"")
        self.log.level = DEBUG
        self.log.debug("noise")
        self.assertEqual(self.log.tail(100), b"12 D noise\n")

    def test_oldest_whole_lines_make_room(self):
        for n in range(20):
            self.log.info("line %02d" % n)
        lines = self.log.tail(1000).split(b"\n")
        self.assertEqual(lines[-2], b"12 I line 19")
        self.assertTrue(all(line.startswith(b"12 I line ") for line in lines[:-1]))
        self.assertEqual(lines[0], b"12 I line 16")
        self.assertTrue(self.log.dropped > 0)

    def test_tail_is_cut_at_a_line(self):
        self.log.info("one")
        self.log.info("two")
        self.assertEqual(self.log.tail(12), b"12 I two\n")

    def test_control_characters_do_not_reach_a_terminal(self):
        self.log.info("a\x1b[2Jb\nc")
        self.assertEqual(self.log.tail(100), b"12 I a [2Jb c\n")

    def test_a_line_longer_than_the_ring_is_not_kept_in_part(self):
        self.log.info("x" * 300)
        self.assertEqual(self.log.tail(1000), b"")

    def test_clear(self):
        self.log.info("secret")
        self.log.clear()
        self.assertEqual(self.log.tail(100), b"")
