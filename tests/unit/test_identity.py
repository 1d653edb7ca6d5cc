"""Identity on the device: first key, rotation, fall-back, and a power cut at every storage
operation.
"""

import hashlib
import unittest

from node.core import csr
from node.tasks.identity import Identity, IdentityError

_ID = "weather-2647-000001-x"


class Cut(BaseException):
    pass


class Files:
    """The storage port in a dictionary; the power goes before the `cut_at`-th operation."""

    def __init__(self):
        self.files = {}
        self.writes = 0
        self.cut_at = 0

    def _write(self):
        self.writes += 1
        if self.writes == self.cut_at:
            raise Cut()

    def read(self, path):
        return self.files.get(path)

    def write_atomic(self, path, data):
        self._write()
        self.files[path] = bytes(data)

    def rename(self, old, new):
        self._write()
        self.files[new] = self.files.pop(old)

    def remove(self, path):
        if path in self.files:
            self._write()
            del self.files[path]


class Random:
    def __init__(self):
        self.calls = 0

    def __call__(self, size):
        self.calls += 1
        return b"".join(
            [hashlib.sha256(b"%d-%d" % (self.calls, i)).digest() for i in range((size + 31) // 32)]
        )[:size]


def certificate(request, serial=0):
    """What stands in for a certificate: bytes that carry the request's public key."""
    return b"certificate %d " % serial + request


class FirstIdentity(unittest.TestCase):
    def setUp(self):
        self.files = Files()
        self.identity = Identity(self.files, Random(), b"uid")

    def test_request_then_install(self):
        with self.assertRaises(IdentityError):
            self.identity.credentials()
        cert = certificate(self.identity.request(_ID))
        self.identity.install(cert, b"authority")
        key, found, authority = self.identity.credentials()
        self.assertEqual((found, authority), (cert, b"authority"))
        self.assertTrue(csr.certifies(cert, key))
        self.assertEqual(len(self.files.files), 3)
        self.assertFalse(self.identity.rotating)

    def test_asking_again_is_for_the_same_key(self):
        self.assertEqual(self.identity.request(_ID), self.identity.request(_ID))

    def test_a_certificate_delivered_twice(self):
        cert = certificate(self.identity.request(_ID))
        self.identity.install(cert, b"authority")
        self.identity.install(cert, b"authority")
        self.assertEqual(self.identity.credentials()[1], cert)

    def test_a_certificate_for_another_key_is_refused(self):
        self.identity.request(_ID)
        other = Identity(Files(), Random(), b"other").request(_ID)
        with self.assertRaises(IdentityError) as caught:
            self.identity.install(certificate(other), b"authority")
        self.assertEqual(caught.exception.code, "mismatch")

    def test_a_certificate_nobody_asked_for(self):
        with self.assertRaises(IdentityError) as caught:
            self.identity.install(b"anything", None)
        self.assertEqual(caught.exception.code, "no-request")

    def test_the_private_key_is_in_one_file_only(self):
        request = self.identity.request(_ID)
        self.identity.install(certificate(request), b"authority")
        private = csr.private_of(self.files.files["/data/id/key.der"])
        holders = [name for name, data in self.files.files.items() if private in data]
        self.assertEqual(holders, ["/data/id/key.der"])
        self.assertFalse(private in request)


class Rotation(unittest.TestCase):
    def setUp(self):
        self.files = Files()
        self.random = Random()
        self.identity = Identity(self.files, self.random)
        self.old = certificate(self.identity.request(_ID))
        self.identity.install(self.old, b"authority")
        self.new = certificate(self.identity.request(_ID), 1)

    def test_old_pair_stays_until_the_new_one_connected(self):
        self.assertEqual(self.identity.credentials()[1], self.old)
        self.identity.install(self.new)
        self.assertTrue(self.identity.rotating)
        self.assertEqual(self.identity.credentials()[1:], (self.new, b"authority"))
        self.assertEqual(self.files.files["/data/id/cert.der"], self.old)
        self.assertEqual(self.identity.connected(self.new), "promoted")
        self.assertEqual(self.identity.connected(self.new), "")
        self.assertEqual(self.files.files["/data/id/cert.der"], self.new)
        self.assertEqual(self.identity.credentials()[1], self.new)
        self.assertFalse(self.identity.rotating)

    def test_a_pair_that_does_not_connect_gives_way(self):
        self.identity.install(self.new, b"other authority")
        for _ in range(3):
            self.identity = Identity(self.files, self.random)  # each try may be another wake
            self.assertEqual(self.identity.credentials()[1], self.new)
            self.identity.failed(self.new)
        self.assertEqual(self.identity.credentials()[1:], (self.old, b"authority"))
        self.assertEqual(self.identity.connected(self.old), "dropped")
        self.assertEqual(self.identity.credentials()[1], self.old)
        self.assertEqual(
            sorted(self.files.files), ["/data/id/" + n for n in ("ca.der", "cert.der", "key.der")]
        )

    def test_when_nothing_connects_the_new_pair_is_tried_again(self):
        self.identity.install(self.new)
        for _ in range(3):
            self.identity.failed(self.new)
        self.identity.failed(self.old)
        self.assertEqual(self.identity.credentials()[1], self.new)
        self.assertEqual(self.identity.connected(self.old), "")
        self.assertTrue(self.identity.rotating)

    def test_a_cut_while_a_bad_pair_is_dropped(self):
        for cut_at in range(1, 4):
            self.setUp()
            self.identity.install(self.new)
            for _ in range(3):
                self.identity.failed(self.new)
            self.files.writes, self.files.cut_at = 0, cut_at
            with self.assertRaises(Cut):
                self.identity.connected(self.old)
            self.files.cut_at = 0
            self.identity = Identity(self.files, self.random)
            self.assertEqual(self.identity.credentials()[1], self.old)
            self.assertFalse(self.identity.rotating and cut_at > 1)

    def test_a_new_authority_comes_with_the_pair(self):
        self.identity.install(self.new, b"new authority")
        self.assertEqual(self.identity.credentials()[2], b"new authority")
        self.identity.connected(self.new)
        self.assertEqual(self.files.files["/data/id/ca.der"], b"new authority")


class PowerCuts(unittest.TestCase):
    def run_story(self, files):
        """Everything from blank to rotated; each step is one the device would take up again after
        a cut.
        """
        identity = Identity(files, Random())
        if not files.read("/data/id/cert.der"):
            identity.recover()
        if "/data/id/cert.der" not in files.files:
            identity.install(certificate(identity.request(_ID)), b"authority")
        first = identity.credentials()[1]
        if first.startswith(b"certificate 0"):
            identity.install(certificate(identity.request(_ID), 1), b"second")
        identity.connected(identity.credentials()[1])
        return identity

    def test_a_cut_at_every_operation(self):
        clean = Files()
        self.run_story(clean)
        self.assertGreater(clean.writes, 8)
        for cut_at in range(1, clean.writes + 1):
            files = Files()
            files.cut_at = cut_at
            with self.assertRaises(Cut):
                self.run_story(files)
            files.cut_at = 0
            had_one = "/data/id/cert.der" in files.files
            rebooted = Identity(files, Random())
            if had_one:
                key, cert, authority = rebooted.credentials()
                self.assertTrue(csr.certifies(cert, key))
                self.assertIn(authority, (b"authority", b"second"))
            after = self.run_story(files)
            key, cert, authority = after.credentials()
            self.assertTrue(csr.certifies(cert, key))
            self.assertEqual(cert[:13], b"certificate 1")
            self.assertEqual(authority, b"second")


if __name__ == "__main__":
    unittest.main()
