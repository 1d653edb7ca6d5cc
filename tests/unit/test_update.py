"""The update machine: what it asks for, what it leaves alone, and servers that lie.

Trust is the loader's and has its own tests: the boot object here believes any document, so that
everything after that can be tried. The filesystem is a dict with littlefs' rule that bytes count
once flushed.
"""

import unittest

from loader import cbor
from node.core.check import CURRENT, FAILED, REBOOT, REFUSED, WAITING
from node.core.fetch import Fetch
from update_bench import MemoryFiles, UpdateCase, document_path, release_doc, stored


class TestWholeWay(UpdateCase):
    def test_everything_is_downloaded(self):
        update = self.ends(REBOOT)
        self.installed()
        self.assertEqual((update.blobs, self.boot.planned), (3, "update"))
        states = [state for state, _, _ in self.reports]
        self.assertEqual(
            states, ["offered", "downloading", "verifying", "installing", "rebooting"]
        )
        self.assertEqual([p for p in self.files.data if p.endswith("~")], ["/b/manifest.cose~"])

    def test_every_chunk_size(self):
        for chunk in (1, 3, 7, 64, 4096, 100000):
            self.setUp()
            self.server.chunk = chunk
            self.ends(REBOOT)
            self.installed()

    def test_nothing_new(self):
        self.boot.digest = self.digest
        update = self.ends(CURRENT)
        self.assertEqual(self.files.writes, 0)
        before = self.server.wire
        self.pump(update)
        self.assertEqual(update.outcome, CURRENT)
        self.assertLess(self.server.wire - before, 200)  # not modified

    def test_ranges_of_one_block(self):
        self.ends(REBOOT)
        spans = [span for path, span in self.server.requests if path == self.blob("node/main.mpy")]
        self.assertEqual(spans, ["bytes=0-4095", "bytes=4096-8191", "bytes=8192-12287"])

    def test_server_without_ranges(self):
        self.server.ranges = False
        self.ends(REBOOT)
        self.installed()

    def test_frozen_is_told_and_does_not_stop(self):
        update = self.pump(None, 101)
        self.assertEqual((update.outcome, update.frozen), (REBOOT, True))


class TestWhatIsThere(UpdateCase):
    def test_running_slot_serves_unchanged_and_renamed_files(self):
        self.files.folders.add("/a/node")
        self.files.data["/a/node/main.mpy"] = self.new["node/main.mpy"]
        self.files.data["/a/other"] = self.new["node/core/x.mpy"]
        update = self.ends(REBOOT)
        self.installed()
        self.assertEqual(update.blobs, 1)

    def test_staging_slot_serves_renamed_and_swapped_files(self):
        self.files.folders.add("/b/node")
        self.files.data["/b/node/main.mpy"] = self.new["schema.cbor"]
        self.files.data["/b/schema.cbor"] = self.new["node/main.mpy"]
        self.files.data["/b/stray"] = b"x" * 50
        self.files.folders.add("/b/old")
        self.files.data["/b/old/y"] = self.new["node/core/x.mpy"]
        update = self.ends(REBOOT)
        self.installed()
        self.assertEqual(update.blobs, 0)
        self.assertFalse("/b/stray" in self.files.data or "/b/old" in self.files.folders)

    def test_same_content_twice(self):
        self.new["twin.mpy"] = self.new["node/main.mpy"]
        self.publish(self.new)
        update = self.ends(REBOOT)
        self.installed()
        self.assertEqual(update.blobs, 3)

    def test_one_misplaced_file_serves_two_places(self):
        self.new["twin.mpy"] = self.new["node/main.mpy"]
        self.publish(self.new)
        self.files.data["/b/elsewhere"] = self.new["node/main.mpy"]
        self.assertEqual(self.ends(REBOOT).blobs, 2)
        self.installed()

    def test_a_blob_that_was_unpacked_already(self):
        name = self.blob("schema.cbor").rsplit("/", 1)[1][:16] + "~"
        self.files.data["/b/schema.cbor"] = self.new["schema.cbor"]
        self.files.data["/b/" + name] = b"left over"
        self.assertEqual(self.ends(REBOOT).blobs, 2)
        self.assertFalse("/b/" + name in self.files.data)

    def test_damaged_file_in_running_slot_is_downloaded(self):
        self.files.folders.add("/a/node")
        self.files.data["/a/node/main.mpy"] = self.new["node/main.mpy"][:-1] + b"!"
        self.assertEqual(self.ends(REBOOT).blobs, 3)
        self.installed()

    def test_folder_in_the_place_of_a_file(self):
        self.files.folders.add("/b/schema.cbor")
        self.files.data["/b/schema.cbor/x"] = b"x"
        self.ends(REBOOT)
        self.installed()

    def test_file_in_the_place_of_a_folder(self):
        self.files.data["/b/node"] = b"x"
        self.ends(REBOOT)
        self.installed()

    def test_manifest_and_seal_go_first(self):
        self.files.data["/b/manifest.cose"] = self.files.data["/b/seal"] = b"old"
        update = self.updater()
        for action in update.run():
            if isinstance(action, Fetch):
                if "/blobs/" in action.url:
                    break
                self.server.carry(action)
        self.assertFalse("/b/manifest.cose" in self.files.data or "/b/seal" in self.files.data)


class TestResume(UpdateCase):
    def test_link_cut_at_every_byte(self):
        path = self.blob("node/core/x.mpy")
        for cut in range(0, len(self.server.resources[path]), 13):
            self.setUp()
            hit = []

            def trick(server, fields, body, hit=hit, cut=cut):
                if not hit:
                    hit.append(1)
                    server.cut_after = cut
                return

            self.server.chunk = 5
            self.server.tricks[path] = trick
            self.ends(REBOOT)
            self.installed()
            self.assertEqual(self.server.refetched(path), 0)

    def test_stop_at_every_request(self):
        """The machine is dropped at each request in turn: what has been flushed is not asked for
        again.
        """
        total = len(self.server.requests)
        update = self.pump()
        total = len(self.server.requests)
        self.assertGreater(total, 5)
        for stop in range(total):
            self.setUp()
            count = 0
            for action in self.updater().run():
                if isinstance(action, Fetch):
                    if count == stop:
                        break
                    count += 1
                    self.server.carry(action)
            update = self.pump()
            self.assertEqual(update.outcome, REBOOT)
            self.installed()
            for name in self.new:
                self.assertLess(self.server.refetched(self.blob(name)), 4097)

    def test_document_is_kept(self):
        update = self.updater()
        for action in update.run():
            if isinstance(action, Fetch):
                if "/blobs/" in action.url:
                    break
                self.server.carry(action)
        self.pump()
        asked = [path for path, _ in self.server.requests if "/releases/" in path]
        self.assertEqual(len(asked), 1)

    def test_server_goes_away(self):
        update = self.updater()
        waits = []
        self.server.down = True
        for action in update.run():
            if isinstance(action, Fetch):
                self.server.carry(action)
            else:
                waits.append(action)
        self.assertEqual((update.outcome, update.code), (FAILED, "link"))
        self.assertEqual(waits, [2000, 4000, 8000, 16000, 30000])

    def test_complete_but_not_unpacked(self):
        path = self.blob("schema.cbor")
        self.files.data["/b/" + path.rsplit("/", 1)[1][:16] + "~"] = self.server.resources[path]
        self.ends(REBOOT)
        self.installed()

    def test_resume_at_a_server_without_ranges(self):
        path = self.blob("node/main.mpy")
        self.files.data["/b/" + path.rsplit("/", 1)[1][:16] + "~"] = self.server.resources[path][
            :4096
        ]
        self.server.ranges = False
        self.ends(REBOOT)
        self.installed()
        asked = [span for asked, span in self.server.requests if asked == path]
        self.assertEqual(asked, ["bytes=4096-8191"])  # once: what was there was passed over

    def test_more_than_there_can_be(self):
        path = self.blob("schema.cbor")
        self.files.data["/b/" + path.rsplit("/", 1)[1][:16] + "~"] = bytes(100000)
        self.ends(REBOOT)
        self.installed()

    def test_parts_that_do_not_fit(self):
        path = self.blob("schema.cbor")
        self.files.data["/b/" + path.rsplit("/", 1)[1][:16] + "~"] = b"x" * 20
        self.ends(REBOOT)
        self.installed()


class TestHostile(UpdateCase):
    def _trick(self, path, answer):
        self.server.tricks[path] = lambda server, fields, body: answer

    def _blob_answer(self, answer, code, outcome=REFUSED):
        self._trick(self.blob("schema.cbor"), answer)
        self.ends(outcome, code)
        self.assertIsNone(self.boot.active)

    def _ok(self, body):
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    def test_another_blob(self):
        self._blob_answer(self._ok(stored(b"t" * 50)), "blob-hash")
        asked = [path for path, _ in self.server.requests if path == self.blob("schema.cbor")]
        self.assertEqual(len(asked), 1)  # nothing was resumed: another try would give the same

    def test_blob_that_is_short_or_long(self):
        self._blob_answer(self._ok(stored(b"s" * 49)), "blob-size")
        self.setUp()
        self._blob_answer(self._ok(stored(b"s" * 51)), "blob-size")

    def test_bomb(self):
        # 50 bytes are wanted; a stored block of 100 is the small cousin of 4 GB of zeros
        self._blob_answer(self._ok(stored(bytes(100))), "blob-size")
        self.setUp()
        self.new["schema.cbor"] = bytes(20000)
        self.publish(self.new)
        self._blob_answer(self._ok(stored(bytes(20060))), "blob-size")
        self.assertLess(len(self.files.data["/b/schema.cbor"]), 20001)

    def test_truncated_blob(self):
        self._blob_answer(self._ok(stored(b"s" * 50)[:-10]), "blob-data")

    def test_not_zlib(self):
        self._blob_answer(self._ok(b"\xff" * 50), "blob-data")

    def test_endless_body(self):
        self._blob_answer(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100000, "http-body", FAILED)
        self.assertLess(max([len(data) for data in self.files.data.values()]), 10000)

    def test_ranges_without_end(self):
        def trick(server, fields, body):
            start = int(fields["range"][6:].split("-")[0]) if "range" in fields else 0
            head = "HTTP/1.1 206 P\r\nContent-Range: bytes {}-{}/*\r\nContent-Length: 4096\r\n\r\n"
            if "range" not in fields:
                head = "HTTP/1.1 200 OK\r\nContent-Length: 8000\r\n\r\n"
                server.cut_after = 4096
            return head.format(start, start + 4095).encode() + bytes(4096)

        self.server.tricks[document_path(self.digest)] = trick
        self.ends(FAILED, "http-body")

    def test_announces_too_much(self):
        self._blob_answer(
            b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", "http-body", FAILED
        )
        self.setUp()
        self._blob_answer(
            b"HTTP/1.1 206 P\r\nContent-Range: bytes 0-9/100000\r\nContent-Length: 10\r\n\r\n"
            + bytes(10),
            "http-body",
            FAILED,
        )

    def test_lying_range(self):
        self._blob_answer(
            b"HTTP/1.1 206 P\r\nContent-Range: bytes 5-9/60\r\nContent-Length: 5\r\n\r\nhello",
            "http-range",
            FAILED,
        )

    def test_byte_by_byte(self):
        def trick(server, fields, body):
            start = int(fields["range"][6:].split("-")[0])
            return (
                b"HTTP/1.1 206 P\r\nContent-Range: bytes %d-%d/%d\r\nContent-Length: 1\r\n\r\n"
                % (
                    start,
                    start,
                    len(body),
                )
                + body[start : start + 1]
            )

        self.server.tricks[self.blob("schema.cbor")] = trick
        self.ends(FAILED, "http-slow")

    def test_captive_portal(self):
        html = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"
        html += b"Content-Length: 6\r\n\r\n<html>"
        self._trick("/update/heads/h.cose", html)
        self.ends(FAILED, "captive")
        self.setUp()
        self._blob_answer(html, "captive", FAILED)
        name = self.blob("schema.cbor").rsplit("/", 1)[1][:16] + "~"
        self.assertFalse("/b/" + name in self.files.data)  # the login page is not part of it

    def test_redirect(self):
        self.server.resources["/cdn/x"] = stored(b"s" * 50)
        self._trick(
            self.blob("schema.cbor"),
            b"HTTP/1.1 302 F\r\nLocation: /cdn/x\r\nContent-Length: 2\r\n\r\nno",
        )
        self.ends(REBOOT)
        self.installed()

    def test_redirect_loop(self):
        path = self.blob("schema.cbor")
        self._blob_answer(
            b"HTTP/1.1 302 F\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % path.encode(),
            "http-redirects",
            FAILED,
        )

    def test_redirect_to_nowhere(self):
        for location in (b"", b"javascript:x", b"relative"):
            self.setUp()
            self._blob_answer(
                b"HTTP/1.1 302 F\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n",
                "http-url",
                FAILED,
            )

    def test_missing_blob(self):
        del self.server.resources[self.blob("schema.cbor")]
        self.ends(FAILED, "http-404")

    def test_server_error_is_tried_again(self):
        answers = [
            b"HTTP/1.1 503 B\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 429 B\r\nContent-Length: 0\r\n\r\n",
        ]
        self.server.tricks[self.blob("schema.cbor")] = lambda *_: (
            answers.pop() if answers else None
        )
        self.ends(REBOOT)

    def test_other_document_under_this_name(self):
        self._trick(
            document_path(self.digest),
            self._ok(release_doc({"node/main.mpy": b""})),
        )
        self.ends(REFUSED, "digest")
        self.assertEqual(self.files.writes, 0)

    def test_document_too_long(self):
        self._trick("/update/heads/h.cose", b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 9000)
        self.ends(FAILED, "http-body")


class TestDecisions(UpdateCase):
    def test_refused_before_the_first_write(self):
        self.boot.refuse = "board"
        self.ends(REFUSED, "board")
        self.assertEqual(self.files.writes, 0)
        self.assertEqual(self.reports, [("refused", self.digest, "board")])

    def test_failed_release_is_not_tried_again(self):
        self.boot.bad = (self.digest,)
        update = self.ends(REFUSED, "failed-before")
        self.pump(update)
        self.assertEqual(update.outcome, CURRENT)
        self.assertEqual(len(self.reports), 1)

    def test_trial_running(self):
        self.boot.trial = True
        self.ends(REFUSED, "trial-running")
        self.assertEqual(self.files.writes, 0)

    def test_condition_not_met(self):
        self.allowed = "battery-low"
        update = self.ends(WAITING, "battery-low")
        self.assertEqual(self.files.writes, 0)
        self.assertEqual(self.reports[-1], ("offered", self.digest, "battery-low"))
        self.allowed = ""
        self.assertEqual(self.pump(update).outcome, REBOOT)

    def test_full_flash(self):
        def full(path, mode):
            if mode != "rb" and "main" in path:
                raise OSError(28)
            return MemoryFiles.open(self.files, path, mode)

        self.files.open = full
        self.ends(FAILED, "storage-full")
        self.assertEqual([path for path in self.files.data if path.startswith("/b/")], [])

    def test_no_room_is_found_out_before_the_download(self):
        self.files.room = 8192  # for a file of 9000 bytes
        self.ends(FAILED, "storage-full")
        self.assertEqual([path for path, _ in self.server.requests if "/blobs/" in path], [])

    def test_broken_flash(self):
        def broken(path, mode):
            raise OSError(5)

        self.files.open = broken
        self.ends(FAILED, "storage")


class TestRoots(UpdateCase):
    def _root(self, version):
        self.server.resources["/update/roots/" + str(version) + ".cose"] = cbor.encode(
            {"version": version}
        )

    def test_followed_to_the_one_the_head_names(self):
        for version in (2, 3, 4):
            self._root(version)
        self.head({"root": 3})
        self.ends(REBOOT)
        self.assertEqual(self.boot.root["version"], 3)

    def test_followed_when_the_head_is_by_a_newer_key(self):
        self._root(2)
        self.head({"root": 2, "key": 2})
        self.ends(REBOOT)

    def test_head_by_nobody(self):
        self.head({"key": 9})
        self.ends(REFUSED, "signer")

    def test_root_is_hidden(self):
        self.head({"root": 2})
        self.ends(REFUSED, "root-missing")


if __name__ == "__main__":
    unittest.main()
