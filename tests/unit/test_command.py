"""Commands: hostile bytes, expiry, rate, and at-most-once across reboots."""

import unittest

from loader import cbor
from node.core.command import MAX_BYTES, Gate, Refused, parse


class FakeStorage:
    def __init__(self):
        self.files = {}

    def read(self, path):
        return self.files.get(path)

    def write_atomic(self, path, data):
        self.files[path] = bytes(data)


def command(**fields):
    merged = {"id": "c1", "cmd": "ping"}
    merged.update(fields)
    return parse(cbor.encode(merged))


class TestParse(unittest.TestCase):
    def refusal(self, payload):
        try:
            parse(payload)
        except Refused as error:
            return error.code, error.id
        return None

    def test_good(self):
        c = command(args={"n": 1}, exp=5)
        self.assertEqual((c.id, c.verb, c.args, c.exp), ("c1", "ping", {"n": 1}, 5))

    def test_refusals(self):
        enc = cbor.encode
        self.assertEqual(self.refusal(b"x" * (MAX_BYTES + 1)), ("too_long", None))
        self.assertEqual(self.refusal(b"\xff"), ("malformed", None))
        self.assertEqual(self.refusal(enc([1])), ("malformed", None))
        self.assertEqual(self.refusal(enc({"id": "a"})), ("malformed", "a"))
        self.assertEqual(self.refusal(enc({"id": 7, "cmd": "ping"})), ("malformed", None))
        self.assertEqual(self.refusal(enc({"id": "", "cmd": "ping"})), ("bad_id", None))
        self.assertEqual(self.refusal(enc({"id": "x" * 41, "cmd": "ping"})), ("bad_id", None))
        self.assertEqual(self.refusal(enc({"id": "a", "cmd": ""})), ("bad_command", "a"))
        bad = enc({"id": "a", "cmd": "p", "exp": "x"})
        self.assertEqual(self.refusal(bad), ("malformed", "a"))

    def test_every_truncation_is_refused(self):
        payload = cbor.encode({"id": "c1", "cmd": "ping", "args": {"a": [1, 2, 3]}})
        for size in range(len(payload)):
            self.assertEqual(self.refusal(payload[:size])[0], "malformed")


class TestGate(unittest.TestCase):
    def setUp(self):
        self.storage = FakeStorage()
        self.gate = Gate(self.storage, "/ids", 7)

    def refusal(self, gate, c, unix_s=1000, up_ms=0):
        try:
            gate.admit(c, unix_s, up_ms)
        except Refused as error:
            return error.code
        return None

    def test_once(self):
        self.assertIsNone(self.refusal(self.gate, command()))
        self.gate.finished("c1", "ok")
        self.assertEqual(self.refusal(self.gate, command()), "duplicate")
        self.assertEqual(self.gate.outcome("c1"), "ok")

    def test_once_across_a_reboot(self):
        self.gate.admit(command(), 1000, 0)
        self.gate.finished("c1", "ok")
        self.assertEqual(self.refusal(Gate(self.storage, "/ids", 8), command()), "duplicate")

    def test_power_cut_while_it_ran_means_never_again(self):
        self.gate.admit(command(), 1000, 0)
        self.assertEqual(self.refusal(Gate(self.storage, "/ids", 8), command()), "interrupted")

    def test_id_is_on_flash_before_admit_returns(self):
        self.gate.admit(command(), 1000, 0)
        self.assertEqual(cbor.decode(self.storage.files["/ids"]), [["c1", "started"]])

    def test_expiry_by_time(self):
        self.assertIsNone(self.refusal(self.gate, command(exp=1000), 1000))
        self.assertEqual(self.refusal(self.gate, command(id="c2", exp=999), 1000), "expired")
        self.assertEqual(self.refusal(self.gate, command(id="c3", exp=999), None), "clock_unknown")

    def test_expiry_by_boot_and_uptime(self):
        self.assertEqual(self.refusal(self.gate, command(boot=6)), "expired")
        self.assertIsNone(self.refusal(self.gate, command(boot=7, up=10), None, 10000))
        late = command(id="c2", boot=7, up=10)
        self.assertEqual(self.refusal(self.gate, late, None, 10001), "expired")

    def test_rate(self):
        codes = [self.refusal(self.gate, command(id="r%d" % n)) for n in range(12)]
        self.assertEqual(codes, [None] * 10 + ["rate", "rate"])
        self.assertIsNone(self.refusal(self.gate, command(id="later"), 1000, 6000))

    def test_a_refused_command_is_not_remembered(self):
        self.refusal(self.gate, command(exp=1), 1000)
        self.assertIsNone(self.gate.outcome("c1"))

    def test_memory_is_bounded(self):
        for n in range(100):
            self.gate.admit(command(id="m%d" % n), None, n * 6000)
        self.assertTrue(len(cbor.decode(self.storage.files["/ids"])) <= 32)
        self.assertEqual(self.gate.outcome("m99"), "started")

    def test_corrupt_memory_is_no_memory(self):
        self.storage.files["/ids"] = b"\xff\xff"
        self.assertIsNone(self.refusal(Gate(self.storage, "/ids", 1), command()))
