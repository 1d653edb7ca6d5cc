"""loader.slots: the files of a slot, strays, the seal, and what a revoked key means."""

import os
import unittest

import toykeys
from loader import slots, trust
from loader.cbor import VerifyError
from loaderbox import Box

SECRET = bytes(range(32))
RFC4231 = (  # HMAC-SHA256 test cases 1 and 2, with keys padded to the length of our secret
    (b"\x0b" * 20 + bytes(12), b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b"),
    (b"Jefe" + bytes(28), b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c7"),
)


class TestSlot(unittest.TestCase):
    def setUp(self):
        self.box = Box()
        self.slot = self.box.base + "/a"
        self.doc = self.box.fill("/a")
        self.root = toykeys.root()
        digest = trust.sha256(trust.unwrap("release", self.doc)[0])
        self.sealed_with = slots.seal_of(SECRET, digest)

    def tearDown(self):
        self.box.close()

    def open(self, wake=False, root=None, secret=SECRET):
        """(release, None) or (None, reason) of opening the manifest and checking the files."""
        try:
            release = wake and slots.open_manifest(self.slot, secret)
            if not release:
                release = slots.open_manifest(self.slot, secret, root or self.root)
            slots.check_files(self.slot, release, secret)
        except VerifyError as error:
            return None, error.code
        return release, None

    def test_good(self):
        release, code = self.open()
        self.assertIsNone(code)
        self.assertEqual((release["version"], release["revoked"]), ("1.0.0", False))

    def test_empty(self):
        self.slot = self.box.base + "/b"
        self.assertEqual(self.open()[1], "slot-empty")
        self.slot = self.box.base + "/a"
        os.remove(self.slot + "/manifest.cose")
        self.assertEqual(self.open()[1], "slot-empty")

    def test_files(self):
        self.box.flip("/a/node/main.mpy", 3)
        self.assertEqual(self.open()[1], "slot-hash")
        self.box.write("/a/node/main.mpy", b"main 1.0.0 and more")
        self.assertEqual(self.open()[1], "slot-hash")
        self.box.write("/a/node/main.mpy", b"main")
        self.assertEqual(self.open()[1], "slot-hash")
        os.remove(self.slot + "/node/main.mpy")
        self.assertEqual(self.open()[1], "slot-file")
        os.mkdir(self.slot + "/node/main.mpy")
        self.assertEqual(self.open()[1], "slot-file")

    def test_a_wrong_size_with_the_right_hash(self):
        value = toykeys.release_map({"node/main.mpy": b"main"})
        value["files"][0][1] = 3
        self.box.write("/a/node/main.mpy", b"main")
        self.box.write("/a/manifest.cose", toykeys.sign("release", value, toykeys.RELEASE))
        self.assertEqual(self.open()[1], "slot-hash")

    def test_a_large_file_goes_through_the_small_buffer(self):
        for size in (2047, 2048, 2049, 10000):
            files = {"node/main.mpy": b"m", "big": bytes([size & 255]) * size}
            doc = toykeys.sign("release", toykeys.release_map(files), toykeys.RELEASE)
            for path in files:
                self.box.write("/a/" + path, files[path])
            self.box.write("/a/manifest.cose", doc)
            self.assertIsNone(self.open()[1])

    def test_strays_are_removed(self):
        for path in ("/a/hashlib.py", "/a/node/evil.mpy", "/a/x/y/z.py", "/a/seal~", "/a/node.py"):
            self.box.write(path, b"")
        os.mkdir(self.slot + "/struct")
        self.assertIsNone(self.open()[1])
        self.assertEqual(sorted(os.listdir(self.slot)), ["manifest.cose", "node", "seal"])
        self.assertEqual(sorted(os.listdir(self.slot + "/node")), ["__init__.mpy", "main.mpy"])

    def test_nothing_is_removed_from_a_slot_that_does_not_verify(self):
        self.box.write("/a/hashlib.py", b"")
        self.box.flip("/a/node/main.mpy")
        self.assertEqual(self.open()[1], "slot-hash")
        self.assertIn("hashlib.py", os.listdir(self.slot))

    def test_every_byte_of_the_manifest(self):
        for index in range(0, len(self.doc), 3):
            self.box.flip("/a/manifest.cose", index)
            release, code = self.open()
            # a seal vouches for the payload, whoever is named as its signer
            self.assertTrue(code or release["revoked"])
            if release:
                self.assertEqual(self.box.read("/a/seal"), self.sealed_with)
            self.box.flip("/a/manifest.cose", index)
        self.assertIsNone(self.open()[1])


class TestSeal(TestSlot):
    """Everything above holds for a sealed slot that wakes up, too."""

    def setUp(self):
        TestSlot.setUp(self)
        self.open()
        self.others = toykeys.root(release=(1, (77,), 0))

    def test_hmac(self):
        for key, message, start in RFC4231:
            mac = slots.seal_of(key, message)
            self.assertEqual("".join(["%02x" % byte for byte in mac[:16]]), start)

    def test_a_wake_asks_for_no_signature(self):
        # a root that knows no key of the release shows that none is asked for
        release, code = self.open(wake=True, root=self.others)
        self.assertIsNone(code)
        self.assertFalse(release["revoked"])

    def test_without_the_seal_it_does(self):
        os.remove(self.slot + "/seal")
        self.assertEqual(self.open(wake=True, root=self.others)[1], "signer")
        self.assertIsNone(self.open(wake=True)[1])
        self.assertEqual(self.box.read("/a/seal"), slots.seal_of(SECRET, self.digest()))

    def digest(self):
        return trust.sha256(trust.unwrap("release", self.doc)[0])

    def test_a_forged_seal(self):
        for seal in (b"", bytes(32), slots.seal_of(bytes(32), self.digest()), b"x" * 33):
            self.box.write("/a/seal", seal)
            self.assertEqual(self.open(wake=True, root=self.others)[1], "signer")

    def test_the_seal_of_another_release(self):
        self.box.fill("/a", "6.6.6", signer=99)
        self.assertEqual(self.open(wake=True)[1], "signer")

    def test_a_sealed_release_outlives_its_key(self):
        release, code = self.open(root=self.others)
        self.assertIsNone(code)
        self.assertTrue(release["revoked"])

    def test_but_not_a_broken_signature(self):
        entry = toykeys.entry("release", b"another payload", toykeys.key(toykeys.RELEASE))
        payload = bytes(trust.unwrap("release", self.doc)[0])
        self.box.write("/a/manifest.cose", toykeys.assemble("release", payload, [entry]))
        self.assertEqual(self.open()[1], "signature")
