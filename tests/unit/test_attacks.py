"""The attacks that TUF (section 1.5.2) and Uptane (section 4.2) name, as far as documents go.

Each test is named after its attack and run against the device's own code, by way of the hand-over
object that the updater talks to. What an attacker has is said in each: a mirror (can serve all
that was ever published), a network (can withhold), or a key. Attacks on the transfer (endless
data, slow retrieval, wrong ranges) are in the tests of the update.
"""

import os
import unittest

import toykeys
from loader import cbor, layout, trust
from loader.cbor import VerifyError
from loaderbox import Box, record_of
from toykeys import HEAD, OPS, RELEASE, head_map, release_map, root_map, sign


def digest_of(doc):
    return trust.sha256(trust.unwrap("release", doc)[0])


class Attack(unittest.TestCase):
    """A device on release 1.0.0 that has accepted a head with sequence 10."""

    def setUp(self):
        self.box = Box()
        self.box.fill("/a", "1.0.0", epoch=3)
        self.boot, _ = self.box.boot()
        self.boot.accept_head(self.head(sequence=10), "stable")

    def tearDown(self):
        self.box.close()

    def head(self, by=HEAD, **fields):
        return sign("head", head_map(**fields), by)

    def refused(self, call, *args):
        try:
            call(*args)
        except VerifyError as error:
            return error.code
        return None


class TestArbitrarySoftware(Attack):
    def test_a_release_by_a_stranger(self):
        doc = self.box.stage("/b", "6.6.6", signer=99)
        self.assertEqual(self.refused(self.boot.activate, doc), "signer")

    def test_a_stolen_online_key_forges_no_release(self):
        for key in (HEAD, OPS):
            doc = self.box.stage("/b", "6.6.6", signer=key)
            self.assertEqual(self.refused(self.boot.activate, doc), "signer")

    def test_files_other_than_the_signed_ones(self):
        doc = self.box.stage("/b", "1.1.0")
        self.box.write("/b/node/main.mpy", b"evil 1.1.0")
        self.assertEqual(self.refused(self.boot.activate, doc), "slot-hash")

    def test_a_manifest_put_into_the_slot_behind_the_loaders_back(self):
        self.box.boot()
        self.box.fill("/a", "6.6.6", signer=99)
        for cause in ("power_on", "deep_sleep", "watchdog"):
            self.assertEqual(self.box.running(cause), "safe")

    def test_a_trust_root_by_strangers(self):
        evil = root_map(2, root=(1, (99,), 0), release=(1, (99,), 0))
        self.assertEqual(self.refused(self.boot.accept_root, sign("root", evil, 99)), "signer")
        self.assertEqual(
            self.refused(self.boot.accept_root, sign("root", evil, 99, 1)), "threshold"
        )


class TestRollback(Attack):
    def test_an_older_head(self):
        for sequence in (9, 1, 0):
            old = self.head(sequence=sequence)
            self.assertEqual(self.refused(self.boot.accept_head, old, "stable"), "head-rollback")

    def test_an_older_head_after_a_reboot(self):
        boot, _ = self.box.boot()
        self.assertEqual(
            self.refused(boot.accept_head, self.head(sequence=9), "stable"), "head-rollback"
        )

    def test_a_signed_release_below_the_epoch_floor(self):
        self.boot.activate(self.box.stage("/b", "1.1.0", epoch=4))
        self.box.boot("planned")[0].confirm()
        boot, _ = self.box.boot()
        doc = self.box.stage("/a", "1.0.0", epoch=3)
        self.assertEqual(self.refused(boot.activate, doc), "epoch")

    def test_an_older_trust_root(self):
        first = self.box.read(layout.ROOT)
        self.boot.accept_root(sign("root", root_map(2), 1, 2))
        boot, _ = self.box.boot()
        self.assertEqual(self.refused(boot.accept_root, first), "root-version")


class TestFastForward(Attack):
    """A thief of the head key drives the sequence to the end of its range, to lock devices out."""

    def test_recovery_by_a_new_era(self):
        self.boot.accept_head(self.head(sequence=2**63), "stable")
        honest = self.head(sequence=11)
        self.assertEqual(self.refused(self.boot.accept_head, honest, "stable"), "head-rollback")
        self.boot.accept_root(sign("root", root_map(2, head=(1, (40,), 1)), 1, 2))
        self.boot.accept_head(self.head(by=40, sequence=1), "stable")
        self.assertEqual(record_of(self.box)["heads"], {"stable": [1, 1]})

    def test_what_the_thief_signed_does_not_come_back(self):
        self.boot.accept_root(sign("root", root_map(2, head=(1, (40,), 1)), 1, 2))
        stolen = self.head(sequence=2**63)
        self.assertEqual(self.refused(self.boot.accept_head, stolen, "stable"), "signer")

    def test_epochs_recover_the_same_way(self):
        self.boot.activate(self.box.stage("/b", "9.9.9", epoch=2**62))
        self.box.boot("planned")[0].confirm()
        boot, _ = self.box.boot()
        self.assertEqual(
            self.refused(boot.activate, self.box.stage("/a", "1.2.0", epoch=4)), "epoch"
        )
        boot.accept_root(sign("root", root_map(2, release=(1, (41,), 1)), 1, 2))
        boot.activate(self.box.stage("/a", "1.2.0", epoch=4, signer=41))
        self.assertEqual(self.box.running("planned"), "/a 1.2.0 trial")


class TestIndefiniteFreeze(Attack):
    def test_an_expired_head_raises_the_alarm(self):
        frozen = self.boot.accept_head(self.head(sequence=10, expires=2000), "stable", 2001)
        self.assertTrue(frozen["frozen"])

    def test_and_does_not_block_a_repair(self):
        # off for two years: what the server has is late, and is a newer release all the same
        doc = self.box.stage("/b", "1.1.0")
        head = self.head(sequence=11, release=digest_of(doc), expires=2000)
        late = self.boot.accept_head(head, "stable", 2**31)
        self.boot.activate(doc, late["release"])
        self.assertEqual(self.box.running("planned"), "/b 1.1.0 trial")

    def test_a_clock_of_1970_sees_no_freeze_and_takes_the_update(self):
        for now_s in (None, 0, 946684800):
            head = self.head(sequence=11, issued=2**31, expires=2**31 + 10)
            self.assertFalse(self.boot.accept_head(head, "stable", now_s)["frozen"])


class TestMixAndMatch(Attack):
    def test_a_release_other_than_the_head_names(self):
        # both are signed and published; the mirror combines them
        wanted = digest_of(self.box.stage("/b", "1.1.0"))
        other = self.box.stage("/b", "1.0.9")
        head = self.boot.accept_head(self.head(sequence=11, release=wanted), "stable")
        self.assertEqual(self.refused(self.boot.activate, other, head["release"]), "digest")

    def test_files_of_two_releases(self):
        doc = self.box.stage("/b", "1.1.0")
        self.box.write("/b/node/main.mpy", b"main 1.0.9")
        self.assertEqual(self.refused(self.boot.activate, doc), "slot-hash")

    def test_the_head_of_another_channel_or_device(self):
        for name in ("beta", "device-8"):
            head = self.head(name=name, sequence=99)
            self.assertEqual(self.refused(self.boot.accept_head, head, "stable"), "head-name")

    def test_signatures_of_another_document(self):
        one = release_map(version="1.1.0")
        two = cbor.encode(release_map(version="1.2.0"))
        entry = toykeys.entry("release", cbor.encode(one), toykeys.key(RELEASE))
        doc = toykeys.assemble("release", two, [entry])
        self.assertEqual(self.refused(self.boot.accept_release, doc), "signature")


class TestMixedBundles(TestMixAndMatch):
    """Uptane's name for it when parts of one device are meant; a runtime is such a part."""

    def test_a_runtime_without_the_application_that_needs_it(self):
        doc = sign("release", release_map(micropython=[1, 99, 0]), RELEASE)
        self.assertEqual(self.refused(self.boot.accept_release, doc), "micropython")


class TestPartialInstallation(Attack):
    def test_a_file_is_missing(self):
        doc = self.box.stage("/b", "1.1.0")
        os.remove(self.box.base + "/b/node/__init__.mpy")
        self.assertEqual(self.refused(self.boot.activate, doc), "slot-file")
        self.assertEqual(self.box.running("power_on"), "/a 1.0.0 confirmed")

    def test_a_slot_half_overwritten_is_not_executed(self):
        self.box.fill("/b", "1.1.0")
        self.box.write("/b/node/main.mpy", b"half")
        self.box.flip("/a/node/main.mpy")
        self.assertEqual(self.box.running(), "safe")


class TestExtraneousDependencies(Attack):
    """Files that nobody signed, placed where an import would find them first."""

    def test_they_are_gone_before_anything_is_imported(self):
        for path in ("/a/hashlib.py", "/a/node/main/__init__.py", "/a/loader/trust.py"):
            self.box.write(path, b"raise SystemExit")
            self.assertEqual(self.box.running(), "/a 1.0.0 confirmed")
            self.assertIsNone(self.box.read(path))

    def test_a_list_that_names_the_loaders_own_files(self):
        for path in ("../outpost/loader/trust.mpy", "/outpost/root.cose", "manifest.cose", "seal"):
            doc = sign("release", release_map({"node/main.mpy": b"", path: b""}), RELEASE)
            self.assertEqual(self.refused(self.boot.accept_release, doc), "path")


class TestWrongSoftware(Attack):
    def test_signed_but_for_something_else(self):
        for fields, code in (
            ({"product": "pump"}, "product"),
            ({"boards": {"esp32_generic": []}}, "board"),
            ({"boards": {"rpi_pico_w": [7]}}, "hardware"),
            ({"chips": ["esp32"]}, "chip"),
            ({"mpy": 5}, "mpy-abi"),
        ):
            doc = sign("release", release_map(**fields), RELEASE)
            self.assertEqual(self.refused(self.boot.accept_release, doc), code)


class TestKeyCompromise(Attack):
    def test_fewer_keys_than_the_threshold(self):
        self.boot.accept_root(sign("root", root_map(2, release=(2, (RELEASE, 50, 51), 0)), 1, 2))
        stolen = self.box.stage("/b", "6.6.6")
        self.assertEqual(self.refused(self.boot.activate, stolen), "threshold")
        twice = sign("release", bytes(trust.unwrap("release", stolen)[0]), RELEASE, RELEASE)
        self.assertEqual(self.refused(self.boot.activate, twice), "threshold")

    def test_one_root_key(self):
        evil = root_map(2, root=(1, (1,), 0), release=(1, (99,), 0))
        self.assertEqual(self.refused(self.boot.accept_root, sign("root", evil, 1)), "threshold")
        self.assertEqual(
            self.refused(self.boot.accept_root, sign("root", evil, 1, 1)), "threshold"
        )

    def test_a_revoked_release_key(self):
        stolen = self.box.stage("/b", "6.6.6")
        self.boot.accept_root(sign("root", root_map(2, release=(1, (50,), 1)), 1, 2))
        self.assertEqual(self.refused(self.boot.activate, stolen), "signer")
        boot, _ = self.box.boot()
        self.assertEqual(self.refused(boot.activate, stolen), "signer")

    def test_a_stolen_head_key_reaches_no_older_epoch_and_no_failed_release(self):
        self.boot.activate(self.box.stage("/b", "1.1.0", epoch=4))
        for cause in ("planned", "watchdog", "watchdog", "watchdog"):
            self.box.boot(cause)
        boot, _ = self.box.boot()
        bad = self.box.stage("/b", "1.1.0", epoch=4)
        head = boot.accept_head(self.head(sequence=12, release=digest_of(bad)), "stable")
        self.assertEqual(self.refused(boot.activate, bad, head["release"]), "failed-before")

    def test_a_stolen_broker_wipes_nothing(self):
        order = {"device": "dev-1", "id": "c1", "command": "wipe", "expires": 200}
        for seed in (HEAD, RELEASE, 99):
            doc = sign("ops", order, seed)
            self.assertEqual(
                self.refused(trust.read_ops, self.boot.root, doc, "dev-1", 100), "signer"
            )
        replayed = sign("ops", order, OPS)
        self.assertEqual(
            self.refused(trust.read_ops, self.boot.root, replayed, "dev-2", 100), "ops-device"
        )
        self.assertEqual(
            self.refused(trust.read_ops, self.boot.root, replayed, "dev-1", 201), "ops-expired"
        )


class TestEndlessDocument(Attack):
    def test_a_document_larger_than_any_may_be(self):
        doc = self.head() + bytes(9000)
        self.assertEqual(self.refused(self.boot.accept_head, doc, "stable"), "doc-size")
