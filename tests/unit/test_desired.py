"""Desired state: bounds, partial rejection, versions, and the way back from a bad one."""

import unittest

from loader import cbor
from loader.cbor import VerifyError
from node.core.desired import DesiredState


class FakeStorage:
    def __init__(self):
        self.files = {}

    def read(self, path):
        return self.files.get(path)

    def write_atomic(self, path, data):
        self.files[path] = bytes(data)


SCHEMA = {"interval": (1, 100), "level": (0, 3)}


class TestDesired(unittest.TestCase):
    def setUp(self):
        self.storage = FakeStorage()
        self.state = self.again()

    def again(self, schema=SCHEMA):
        return DesiredState(self.storage, "/d", schema)

    def apply(self, version, **wanted):
        return self.state.apply(cbor.encode({"v": version, "set": wanted}))

    def test_applied_and_kept(self):
        self.assertEqual(self.apply(1, interval=10, level=2), "applied")
        state = self.again()
        self.assertEqual(
            (state.version, state.get("interval", 0), state.get("level", 0)), (1, 10, 2)
        )

    def test_each_bad_setting_is_named(self):
        self.assertEqual(self.apply(1, interval=10, level=9, colour=1), "partly")
        self.assertEqual(self.state.rejected, {"level": "bounds", "colour": "unknown"})
        self.assertEqual(self.state.get("interval", 0), 10)

    def test_wrong_types(self):
        self.assertEqual(self.apply(1, interval=True, level="2"), "rejected")
        self.assertEqual(self.state.rejected, {"interval": "type", "level": "type"})
        self.assertEqual(self.state.version, 0)

    def test_versions_never_go_back(self):
        self.apply(5, interval=10)
        self.assertEqual(self.apply(5, interval=20), "current")
        self.assertEqual(self.apply(4, interval=20), "stale")
        self.assertEqual(self.state.get("interval", 0), 10)

    def test_a_set_that_brings_the_node_down_is_rolled_back(self):
        self.apply(1, interval=10)
        self.state.proven()
        self.apply(2, interval=99)
        for _ in range(2):
            self.state = self.again()
            self.state.started(True)
        self.assertEqual((self.state.version, self.state.get("interval", 0)), (1, 10))
        self.assertTrue(self.state.rolled_back)
        report = self.state.report()
        self.assertEqual((report["v"], report["seen"], report["code"]), (1, 2, "rolled_back"))
        self.assertEqual(self.again().report(), report)
        self.state = self.again()
        self.assertEqual(self.apply(2, interval=99), "bad")
        self.assertEqual(self.apply(3, interval=11), "applied")

    def test_one_fault_is_forgiven_and_a_power_cut_is_no_fault(self):
        self.apply(1, interval=10)
        for fault in (True, False, False):
            self.state = self.again()
            self.state.started(fault)
        self.assertEqual(self.state.get("interval", 0), 10)

    def test_a_fault_after_it_was_proven_is_not_its_fault(self):
        self.apply(1, interval=10)
        self.state.proven()
        for _ in range(5):
            self.state = self.again()
            self.state.started(True)
        self.assertEqual(self.state.version, 1)

    def test_settings_a_release_does_not_know_are_not_in_force(self):
        self.apply(1, interval=10, level=2)
        self.assertEqual(self.again({"level": (0, 3)}).settings, {"level": 2})

    def test_a_setting_a_release_does_not_know_is_kept_for_the_next(self):
        self.apply(1, interval=10, level=2)
        older = self.again({"level": (0, 3)})
        older.proven()
        self.assertEqual(self.again().settings, {"interval": 10, "level": 2})

    def test_reasons_survive_a_restart(self):
        self.apply(1, interval=10, level=9)
        report = self.state.report()
        self.assertEqual((report["code"], report["rejected"]), ("partly", {"level": "bounds"}))
        self.assertEqual(self.again().report(), report)

    def on_trial(self, version, **wanted):
        return self.state.apply(cbor.encode({"v": version, "set": wanted}), b"new")

    def test_what_came_during_a_trial_goes_with_the_release(self):
        self.apply(1, interval=10)
        self.state.proven()
        self.on_trial(2, interval=20)
        self.state.proven()
        self.on_trial(3, interval=30)
        self.state = self.again()
        self.state.started(False, b"new", lambda digest: False)  # a restart of the trial
        self.assertEqual(self.state.version, 3)
        self.state.started(True, b"", lambda digest: digest == b"new")
        self.assertEqual((self.state.version, self.state.settings), (1, {"interval": 10}))
        self.assertEqual(self.again().report()["code"], "rolled_back")
        self.assertEqual(self.apply(3, interval=30), "bad")
        self.assertEqual(self.apply(4, interval=30), "applied")

    def test_what_came_during_a_trial_stays_with_a_confirmed_release(self):
        self.on_trial(2, interval=20)
        self.state = self.again()
        self.state.started(False, b"", lambda digest: False)
        self.assertEqual(self.again().version, 2)
        self.state = self.again()
        self.state.started(False, b"", lambda digest: True)  # that trial has been forgotten
        self.assertEqual(self.again().version, 2)

    def test_hostile_documents(self):
        for payload in (
            b"",
            b"\xff",
            cbor.encode([]),
            cbor.encode({"v": 0, "set": {}}),
            cbor.encode({"v": 1}),
            cbor.encode({"v": 1, "set": {1: 2}}),
            cbor.encode({"v": 1, "set": {"x" * 33: 2}}),
            cbor.encode({"v": 1, "set": {("n%d" % n): n for n in range(33)}}),
            bytes(3000),
        ):
            with self.assertRaises(VerifyError):
                self.state.apply(payload)

    def test_corrupt_store_is_an_empty_one(self):
        for data in (b"", b"\xff", cbor.encode([1, 2])):
            self.storage.files["/d"] = data
            self.assertEqual(self.again().version, 0)
