"""loader.handover: boots, trials, rollbacks, evidence, and each refusal by the device's path."""

import os
import unittest

import toykeys
from loader import cbor, layout
from loader.cbor import VerifyError
from loaderbox import Box, record_of
from toykeys import HEAD, head_map, release_map, root_map, sign


class BoxTest(unittest.TestCase):
    def setUp(self):
        self.box = Box()
        self.box.fill("/a", "1.0.0")

    def tearDown(self):
        self.box.close()

    def update(self, version="1.1.0", **fields):
        """Run 1.0.0, put another release on trial; its digest."""
        boot, _ = self.box.boot()
        boot.activate(self.box.stage("/b", version, **fields))
        boot.plan_reset("update")
        os.remove(self.box.base + "/outpost/note")
        return record_of(self.box)["trial"][1]

    def refused(self, call, *args):
        try:
            call(*args)
        except VerifyError as error:
            return error.code
        return None


class TestBoot(BoxTest):
    def test_first(self):
        boot, ready = self.box.boot()
        self.assertTrue(ready)
        self.assertEqual((boot.slot, boot.staging), (self.box.base + "/a", self.box.base + "/b"))
        self.assertEqual((boot.version, boot.mode, boot.trial), ("1.0.0", "confirmed", False))
        self.assertEqual((boot.digest, boot.root["version"]), (boot.release["digest"], 1))
        self.assertFalse("files" in boot.release)
        self.assertEqual(boot.evidence(), [])

    def test_nothing_changes_on_flash_once_it_is_sealed(self):
        self.box.boot()
        before = record_of(self.box)
        for cause in ("power_on", "deep_sleep", "planned"):
            self.box.boot(cause)
        self.assertEqual(record_of(self.box), before)

    def test_no_slot(self):
        self.box.flip("/a/node/main.mpy")
        boot, ready = self.box.boot()
        self.assertFalse(ready)
        texts = [entry["text"] for entry in boot.evidence()]
        self.assertEqual(texts, ["/a: slot-hash", "/b: slot-empty"])

    def test_safe_mode_installs(self):
        self.box.flip("/a/manifest.cose", 100)
        boot, ready = self.box.boot()
        self.assertFalse(ready)
        doc = self.box.stage("/a", "1.0.1")
        self.assertEqual(boot.staging, self.box.base + "/a")
        boot.activate(doc)
        self.assertEqual(self.box.running("planned"), "/a 1.0.1 confirmed")

    def test_a_damaged_record_boots_what_verifies(self):
        self.update()
        self.box.boot("planned")[0].confirm()
        self.assertEqual(self.box.running(), "/b 1.1.0 confirmed")
        self.box.flip(layout.RECORD, 12)
        self.assertEqual(self.box.running(), "/a 1.0.0 confirmed")
        self.box.flip(layout.RECORD, 12)
        self.box.flip("/a/node/main.mpy")
        self.box.flip(layout.RECORD, 12)
        self.assertEqual(self.box.running(), "/b 1.1.0 fallback")

    def test_a_damaged_root_boots_what_is_sealed(self):
        self.box.boot()
        self.box.flip(layout.ROOT, 5)
        boot, ready = self.box.boot()
        self.assertTrue(ready and boot.release["revoked"])
        self.assertEqual(
            self.refused(boot.accept_head, sign("head", head_map(), HEAD), "stable"), "signer"
        )

    def test_a_wake_trusts_the_seal_and_every_other_start_the_files(self):
        self.box.boot()
        self.box.flip("/a/node/main.mpy")
        self.assertEqual(self.box.running("deep_sleep"), "/a 1.0.0 confirmed")
        for cause in ("power_on", "brown_out", "planned", "soft", "watchdog", "hard", "exception"):
            self.assertFalse(self.box.boot(cause)[1])

    def test_a_seal_is_not_enough_for_the_second_choice(self):
        self.update()
        self.box.boot("planned")[0].confirm()
        self.box.flip("/a/node/main.mpy")
        self.box.flip("/b/manifest.cose", 100)
        boot, ready = self.box.boot("deep_sleep")
        self.assertFalse(ready)
        self.assertEqual(boot.evidence()[-1]["text"], "/a: slot-hash")

    def test_only_files_that_were_checked_are_sealed(self):
        self.box.flip("/a/node/main.mpy")
        self.box.boot()
        self.box.boot("deep_sleep")
        self.assertFalse("seal" in os.listdir(self.box.base + "/a"))

    def test_a_lost_secret_asks_for_signatures_again(self):
        self.box.boot()
        self.box.write("/outpost/secret.bin", b"x" * 32)
        self.assertEqual(self.box.running("deep_sleep"), "/a 1.0.0 confirmed")

    def test_fallback_stays(self):
        self.update()
        self.box.boot("planned")[0].confirm()
        self.box.flip("/b/node/main.mpy")
        self.assertEqual(self.box.running(), "/a 1.0.0 fallback")
        self.assertEqual(self.box.running(), "/a 1.0.0 confirmed")

    def test_a_release_for_another_board_is_not_executed(self):
        self.box.fill("/a", "1.0.0", boards={"esp32_generic": []})
        boot, ready = self.box.boot()
        self.assertFalse(ready)
        self.assertEqual(boot.evidence()[0]["text"], "/a: board")


class TestTrial(BoxTest):
    def test_confirmed(self):
        digest = self.update(epoch=2)
        boot, _ = self.box.boot("planned")
        self.assertEqual(
            (boot.mode, boot.trial, boot.tries, boot.digest), ("trial", True, 0, digest)
        )
        self.assertEqual(record_of(self.box)["floor"], [0, 0])
        boot.confirm()
        self.assertFalse(boot.trial)
        record = record_of(self.box)
        self.assertEqual((record["confirmed"], record["floor"], record["trial"]), (1, [0, 2], []))
        self.assertEqual(self.box.running("watchdog"), "/b 1.1.0 confirmed")

    def test_a_crash_before_it_started_is_the_old_releases(self):
        self.update()
        boot, _ = self.box.boot("watchdog")
        self.assertEqual((boot.trial, boot.tries), (True, 0))
        self.assertEqual([(e["cause"], e["version"]) for e in boot.evidence()], [("watchdog", "")])

    def test_exhausted_with_nothing_to_go_back_to(self):
        digest = self.update()
        for cause in ("planned", "watchdog", "watchdog"):
            self.box.boot(cause)
        self.box.flip("/a/node/main.mpy")
        boot, ready = self.box.boot("watchdog")
        self.assertFalse(ready)
        self.assertEqual(boot.record["failed"], [digest])

    def test_a_runtime_that_is_not_the_one_running(self):
        runtime = {
            "board": "rpi_pico_w",
            "build": "another build",
            "mpy": 6,
            "micropython": [1, 25, 0],
            "size": 4096,
            "sha256": bytes(32),
            "chunks": "node/main.mpy",  # for once of the right size: 32 bytes
        }
        self.box.fill("/a", "x" * 27, runtime=runtime)
        boot, ready = self.box.boot(runtime_max=10000)
        self.assertFalse(ready)
        self.assertEqual(boot.evidence()[0]["text"], "/a: runtime-running")
        boot, ready = self.box.boot(runtime_max=10000, build="another build")
        self.assertTrue(ready)

    def test_three_faults(self):
        digest = self.update()
        runs = [self.box.running(cause) for cause in ("planned", "watchdog", "hard", "watchdog")]
        self.assertEqual(runs, ["/b 1.1.0 trial"] * 3 + ["/a 1.0.0 confirmed"])
        boot, _ = self.box.boot()
        self.assertTrue(boot.failed(digest))
        entries = boot.evidence()
        self.assertEqual(
            [(e["cause"], e["tries"]) for e in entries], [("hard", 2), ("watchdog", 3)]
        )
        self.assertEqual([(e["version"], e["digest"]) for e in entries], [("1.1.0", digest)] * 2)
        self.assertEqual(
            self.refused(boot.activate, self.box.stage("/b", "1.1.0")), "failed-before"
        )
        boot.activate(self.box.stage("/b", "1.1.1"))

    def test_power_spends_nothing(self):
        self.update()
        for cause in ("planned",) + ("power_on", "brown_out", "deep_sleep", "soft") * 5:
            self.assertEqual(self.box.running(cause), "/b 1.1.0 trial")
        self.assertEqual(record_of(self.box)["trial"][3:], [0, 21])

    def test_exceptions(self):
        digest = self.update()
        cause = "planned"
        for tries in (1, 2, 3):
            boot, _ = self.box.boot(cause)
            self.assertTrue(boot.trial)
            boot.fail("exception", "run", "ValueError: no")
            self.assertEqual(boot.evidence()[0]["tries"], tries)
            self.assertEqual(self.box.read("/outpost/note"), b"exception")
            cause = "exception"
        boot, _ = self.box.boot(cause)
        self.assertEqual((boot.version, boot.trial, boot.failed(digest)), ("1.0.0", False, True))
        self.assertEqual(
            boot.evidence(),
            [
                {
                    "version": "1.1.0",
                    "digest": digest,
                    "cause": "exception",
                    "stage": "run",
                    "text": "ValueError: no",
                    "tries": 3,
                }
            ],
        )
        boot.evidence_reported()
        self.assertEqual(self.box.boot()[0].evidence(), [])

    def test_a_trial_slot_that_rots_is_not_blamed_on_the_release(self):
        digest = self.update()
        self.box.flip("/b/node/main.mpy")
        boot, _ = self.box.boot("planned")
        self.assertEqual((boot.version, boot.failed(digest)), ("1.0.0", False))
        self.assertEqual(boot.evidence()[0]["text"], "/b: slot-hash")
        self.assertEqual(record_of(self.box)["trial"], [])

    def test_a_trial_cannot_start_another(self):
        self.update()
        boot, _ = self.box.boot("planned")
        self.assertEqual(
            self.refused(boot.activate, self.box.stage("/a", "1.2.0")), "trial-running"
        )

    def test_activate_verifies_what_was_staged(self):
        boot, _ = self.box.boot()
        doc = self.box.stage("/b", "1.1.0")
        self.box.flip("/b/node/main.mpy")
        self.assertEqual(self.refused(boot.activate, doc), "slot-hash")
        self.assertEqual(record_of(self.box)["trial"], [])
        self.box.stage("/b", "1.1.0")
        self.assertEqual(self.refused(boot.activate, doc, bytes(32)), "digest")
        self.box.write("/b/struct.py", b"")
        boot.activate(doc)
        self.assertEqual(sorted(os.listdir(boot.staging)), ["manifest.cose", "node", "seal"])

    def test_epoch_is_raised_by_a_confirmation_only(self):
        self.update(epoch=5)
        for cause in ("planned", "watchdog", "watchdog", "watchdog"):
            self.box.boot(cause)
        self.assertEqual(record_of(self.box)["floor"], [0, 0])
        boot, _ = self.box.boot()
        boot.activate(self.box.stage("/b", "1.1.1", epoch=5))
        self.box.boot("planned")[0].confirm()
        boot, _ = self.box.boot()
        self.assertEqual(
            self.refused(boot.activate, self.box.stage("/a", "1.1.2", epoch=4)), "epoch"
        )
        boot.activate(self.box.stage("/a", "1.1.2", epoch=5))

    def test_failed_releases_are_remembered_within_a_bound(self):
        for number in range(10):
            self.update("2.0.%d" % number)
            for cause in ("planned", "watchdog", "watchdog", "watchdog"):
                self.box.boot(cause)
        self.assertEqual(len(record_of(self.box)["failed"]), 8)

    def test_a_disk_that_cannot_be_written_starts_no_trial(self):
        # a try that cannot be counted would make a trial for ever
        self.update()
        os.mkdir(self.box.base + layout.RECORD + "~")
        try:
            self.assertEqual(self.box.running("planned"), "/a 1.0.0 confirmed")
        finally:
            os.rmdir(self.box.base + layout.RECORD + "~")
        self.assertEqual(self.box.running("planned"), "/b 1.1.0 trial")


class TestEvidence(BoxTest):
    def test_equal_faults_are_written_once(self):
        boot, _ = self.box.boot()
        boot.fail("exception", "run", "text")
        before = self.box.read(layout.EVIDENCE)
        for _ in range(3):
            self.box.boot("exception")[0].fail("exception", "run", "text")
        self.assertEqual(self.box.read(layout.EVIDENCE), before)

    def test_a_bounded_number_is_kept(self):
        boot, _ = self.box.boot()
        for number in range(9):
            boot.fail("exception", "run", "x" * 1000 + str(number))
        self.assertEqual([e["text"][-1] for e in boot.evidence()], ["5", "6", "7", "8"])

    def test_a_watchdog_of_the_confirmed_release(self):
        self.box.boot()
        boot, _ = self.box.boot("watchdog")
        entry = boot.evidence()[0]
        self.assertEqual(
            (entry["version"], entry["cause"], entry["tries"]), ("1.0.0", "watchdog", 0)
        )

    def test_damaged(self):
        boot, _ = self.box.boot()
        boot.fail("exception", "run", "text")
        self.box.flip(layout.EVIDENCE, 20)
        self.assertEqual(boot.evidence(), [])
        boot.evidence_reported()
        boot.fail("exception", "run", "text")
        self.assertEqual(len(boot.evidence()), 1)

    def test_a_full_disk_does_not_stop_the_reset(self):
        boot, _ = self.box.boot()
        for path in (layout.EVIDENCE, layout.NOTE):
            os.mkdir(self.box.base + path + "~")
        boot.fail("exception", "run", "text")
        self.assertEqual(boot.evidence(), [])


class TestDocuments(BoxTest):
    def test_heads(self):
        boot, _ = self.box.boot()
        self.assertEqual(
            boot.accept_head(sign("head", head_map(sequence=5), HEAD), "stable")["sequence"], 5
        )
        self.assertEqual(record_of(self.box)["heads"], {"stable": [0, 5]})
        boot, _ = self.box.boot()
        old = sign("head", head_map(sequence=4), HEAD)
        self.assertEqual(self.refused(boot.accept_head, old, "stable"), "head-rollback")
        self.assertTrue(
            boot.accept_head(sign("head", head_map(sequence=5), HEAD), "stable", 3000)["frozen"]
        )

    def test_head_names_are_bounded_and_none_is_forgotten(self):
        boot, _ = self.box.boot()
        for name in ("a", "b", "c", "d"):
            boot.accept_head(sign("head", head_map(name=name), HEAD), name)
        fifth = sign("head", head_map(name="e"), HEAD)
        self.assertEqual(self.refused(boot.accept_head, fifth, "e"), "head-names")
        self.assertEqual(sorted(record_of(self.box)["heads"]), ["a", "b", "c", "d"])
        boot.accept_head(sign("head", head_map(name="d", sequence=2), HEAD), "d")

    def test_roots(self):
        boot, _ = self.box.boot()
        doc = sign("root", root_map(2, release=(1, (30,), 1)), 1, 2)
        self.assertEqual(
            self.refused(boot.accept_root, sign("root", root_map(3), 1, 2)), "root-version"
        )
        boot.accept_root(doc)
        self.assertEqual(boot.root["version"], 2)
        self.assertEqual(self.refused(boot.accept_root, doc), "root-version")
        # what is installed stays bootable, what its lost key signs from now on is not installed
        boot, ready = self.box.boot()
        self.assertTrue(ready and boot.release["revoked"])
        self.assertEqual(boot.root["version"], 2)
        self.assertEqual(self.refused(boot.activate, self.box.stage("/b", "1.1.0")), "signer")
        boot.activate(self.box.stage("/b", "1.1.0", signer=30))
        self.assertEqual(self.box.running("planned"), "/b 1.1.0 trial")
        # and a rollback to it works, too
        for _ in range(3):
            running = self.box.running("watchdog")
        self.assertEqual(running, "/a 1.0.0 confirmed")

    def test_nothing_is_written_for_a_release_that_is_refused(self):
        boot, _ = self.box.boot()
        before = sorted(os.listdir(self.box.base))
        for fields, code in (
            ({"product": "pump"}, "product"),
            ({"boards": {}}, "board"),
            ({"boards": {"rpi_pico_w": [9]}}, "hardware"),
            ({"chips": []}, "chip"),
            ({"mpy": 7}, "mpy-abi"),
            ({"micropython": [9, 0, 0]}, "micropython"),
            ({"loader": 9}, "loader"),
            ({"budget": 10**9}, "slot-budget"),
            ({"budget": 1}, "slot-size"),
            ({"files": []}, "files"),
            ({"files": [["../boot.py", 0, bytes(32)]]}, "path"),
            ({"files": [["x", 0, bytes(32)]]}, "entry"),
            ({"runtime": {}}, "field"),
        ):
            doc = sign("release", dict(release_map(), **fields), toykeys.RELEASE)
            self.assertEqual(self.refused(boot.accept_release, doc), code)
            self.assertEqual(self.refused(boot.activate, doc), code)
            self.assertEqual(sorted(os.listdir(self.box.base)), before)

    def test_a_hostile_document_costs_a_reason_and_nothing_else(self):
        boot, _ = self.box.boot()
        before = self.box.read(layout.RECORD)
        doc = bytearray(sign("head", head_map(), HEAD))
        for index in range(len(doc)):
            doc[index] ^= 0x11
            self.assertIsNotNone(self.refused(boot.accept_head, doc, "stable"))
            doc[index] ^= 0x11
        self.assertEqual(self.box.read(layout.RECORD), before)
        self.assertEqual(cbor.decode(self.box.read("/outpost/board.cbor"))["hw"], 2)
