"""node.core.model: walks, features, bounds; and a hand-made forest."""

import struct
import unittest

from loader import cbor
from node.core import model


def node(feature, right, value):
    return struct.pack("<BBh", feature, right, value)


def leaf(value):
    return node(model.LEAF, 0, value)


# One tree over one column: a step of 100 or more, or a deviation below -50, is unusual (score 16).
TREE = node(1, 4, 100) + node(0, 2, -50) + leaf(16) + leaf(96) + leaf(16)


def document(**changes):
    fields = {"v": 1, "kind": "forest", "columns": ["t"], "shifts": [0, 0], "trees": [0]}
    fields.update({"nodes": TREE, "threshold": 50})
    fields.update(changes)
    return cbor.encode(fields)


class TestModel(unittest.TestCase):
    def warm(self):
        found = model.Model(document())
        for _ in range(model.WARM_UP):
            self.assertFalse(found.take([2000]))
        return found

    def test_a_step_and_a_deviation(self):
        found = self.warm()
        self.assertFalse(found.take([2040]))
        self.assertEqual(found.score, 96)
        self.assertTrue(found.take([2140]))
        self.assertEqual(found.score, 16)
        self.assertFalse(found.take([2141]))
        self.assertTrue(found.take([1900]))

    def test_the_mean_follows(self):
        found = self.warm()
        for at in range(1000):
            self.assertFalse(found.take([2000 + at // 10]))

    def test_shifts_keep_features_small(self):
        features = model.Features([0, 3])
        for _ in range(model.WARM_UP):
            features.take([0])
        features.take([1 << 20])
        self.assertEqual(features.x, [32767, 32767])
        features.take([(1 << 20) - 80])
        self.assertEqual(features.x[1], -10)

    def test_a_row_allocates_nothing(self):
        import micropython

        found, row = self.warm(), [2000]
        micropython.heap_lock()
        try:
            for value in (2001, 1999, 2100, 2000):
                row[0] = value
                found.take(row)
        finally:
            micropython.heap_unlock()

    def test_refused(self):
        for changes, code in (
            ({"v": 2}, "model-kind"),
            ({"kind": "net"}, "model-kind"),
            ({"columns": []}, "model-shape"),
            ({"shifts": [0]}, "model-shape"),
            ({"shifts": [0, 99]}, "model-shape"),
            ({"trees": []}, "model-shape"),
            ({"trees": [5]}, "model-shape"),
            ({"nodes": TREE[:-1]}, "model-shape"),
            ({"nodes": b""}, "model-shape"),
            ({"nodes": node(7, 2, 0) + leaf(1) + leaf(1)}, "model-nodes"),
            ({"nodes": node(0, 0, 0) + leaf(1) + leaf(1)}, "model-nodes"),
            ({"nodes": node(0, 3, 0) + leaf(1) + leaf(1)}, "model-nodes"),
            ({"nodes": leaf(1) + node(0, 2, 0)}, "model-nodes"),
            ({"nodes": TREE * 300}, "model-size"),
            ({"threshold": "1"}, "model-form"),
        ):
            try:
                model.Model(document(**changes))
                self.assertTrue(False, str(changes))
            except model.ModelError as error:
                self.assertEqual(error.code, code)

    def test_any_nodes_that_are_accepted_end(self):
        state = 12345
        accepted = 0
        for _ in range(300):
            nodes = b""
            for _ in range(6):
                state = (state * 1103515245 + 12345) & 0x7FFFFFFF
                kind = (state >> 8) % 3
                nodes += (
                    leaf(state & 63) if kind == 0 else node(kind - 1, 2 + (state >> 20) % 6, 0)
                )
            try:
                found = model.Model(document(nodes=nodes + leaf(1)))
            except model.ModelError:
                continue
            accepted += 1
            for value in range(70):
                found.take([value * 7 % 11])
        self.assertGreater(accepted, 5)
