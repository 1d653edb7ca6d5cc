"""loader.trust: signatures, roles, roots, heads, releases, commands; by the device's own code.

Documents are signed with toykeys, which both interpreters can make; tests/host does it again with
real keys, and has an independent implementation judge them.
"""

import unittest

import toykeys
from loader import cbor, trust
from loader.cbor import VerifyError
from toykeys import DEVICE, HEAD, OPS, RELEASE, head_map, key, release_map, root, sign


def reason(call, *args):
    """The code that `call` is refused with; None when it is not."""
    try:
        call(*args)
    except VerifyError as error:
        return error.code
    return None


class TestPss(unittest.TestCase):
    def setUp(self):
        self.key = key(RELEASE)
        self.digest = trust.sha256(b"message")

    def good(self, signature):
        return trust.pss_verify(self.key.modulus, self.digest, signature)

    def test_good(self):
        self.assertTrue(self.good(self.key.sign(b"message")))

    def test_another_salt_is_as_good(self):
        self.assertTrue(self.good(self.key.sign(b"message", bytes(32))))

    def test_another_message_or_key(self):
        self.assertFalse(self.good(self.key.sign(b"massage")))
        self.assertFalse(self.good(key(HEAD).sign(b"message")))

    def test_salts_of_other_lengths(self):
        for size in (0, 20, 31, 33, 48):
            self.assertFalse(self.good(self.key.sign(b"message", bytes(size))))

    def test_lengths(self):
        signature = self.key.sign(b"message")
        for wrong in (b"", signature[:-1], signature + b"\0", b"\0" + signature):
            self.assertFalse(self.good(wrong))

    def test_a_representative_out_of_range(self):
        value = int.from_bytes(self.key.sign(b"message"), "big") + self.key.n
        if value < 1 << 3072:
            self.assertFalse(self.good(value.to_bytes(384, "big")))
        for value in (0, 1, self.key.n - 1, self.key.n, (1 << 3072) - 1):
            self.assertFalse(self.good(value.to_bytes(384, "big")))

    def blocks(self, salt=None):
        """An encoded message, to be spoilt before the private operation."""
        signature = int.from_bytes(self.key.sign(b"message", salt), "big")
        return bytearray(pow(signature, 65537, self.key.n).to_bytes(384, "big"))

    def test_encoded_message_spoilt(self):
        self.assertTrue(self.good(self.key.raw(bytes(self.blocks()))))
        for index, flip in ((383, 1), (0, 0x40), (1, 1), (317, 1), (318, 1), (340, 1), (360, 1)):
            block = self.blocks()
            block[index] ^= flip
            self.assertFalse(self.good(self.key.raw(bytes(block))))

    def test_top_bit_of_the_encoded_message(self):
        # only a block below the modulus can be signed: look for one
        tried = 0
        for salt in range(60):
            block = self.blocks(bytes([salt]) * 32)
            block[0] |= 0x80
            if int.from_bytes(bytes(block), "big") < self.key.n:
                self.assertFalse(self.good(self.key.raw(bytes(block))))
                tried += 1
        self.assertGreater(tried, 0)

    def test_pkcs1_v15_is_not_taken(self):
        info = b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"
        block = b"\0\1" + b"\xff" * (384 - 3 - len(info) - 32) + b"\0" + info + self.digest
        self.assertFalse(self.good(self.key.raw(block)))


class TestDocument(unittest.TestCase):
    def setUp(self):
        self.root = root()
        self.payload = cbor.encode(release_map())
        self.entry = toykeys.entry("release", self.payload, key(RELEASE))

    def refused(self, doc, role="release", by=None):
        return reason(trust.verify, by or self.root, role, doc)

    def doc(self, *entries):
        return toykeys.assemble("release", self.payload, list(entries))

    def test_good(self):
        payload = trust.verify(self.root, "release", self.doc(self.entry))
        self.assertEqual(bytes(payload), self.payload)

    def test_any_buffer(self):
        doc = self.doc(self.entry)
        for form in (bytearray(doc), memoryview(doc), memoryview(b"x" + doc)[1:]):
            self.assertEqual(bytes(trust.verify(self.root, "release", form)), self.payload)

    def test_unsigned(self):
        self.assertEqual(self.refused(self.doc()), "cose-shape")
        self.assertEqual(self.refused(self.payload), "cose-shape")

    def test_signed_by_another_role(self):
        for seed in (1, HEAD, OPS, 99):
            self.assertEqual(self.refused(sign("release", self.payload, seed)), "signer")

    def test_signed_as_another_kind(self):
        # a head key cannot be talked into signing a release, and a release is no head
        doc = sign("head", self.payload, RELEASE)
        self.assertEqual(self.refused(doc), "cose-type")
        self.assertEqual(self.refused(self.doc(self.entry), "head"), "cose-type")

    def test_a_signature_moved_to_another_kind(self):
        entry = toykeys.entry("head", self.payload, key(RELEASE))
        self.assertEqual(self.refused(self.doc(entry)), "signature")

    def test_another_payload_under_the_signature(self):
        other = cbor.encode(release_map(version="6.6.6"))
        self.assertEqual(
            self.refused(toykeys.assemble("release", other, [self.entry])), "signature"
        )

    def test_kid_of_a_known_key_signature_of_another(self):
        entry = [self.entry[0], {}, toykeys.entry("release", self.payload, key(99))[2]]
        self.assertEqual(self.refused(self.doc(entry)), "signature")

    def test_algorithms_are_not_chosen_by_the_message(self):
        for header in (
            {1: -257, 4: key(RELEASE).kid},  # RS256
            {1: -7, 4: key(RELEASE).kid},
            {1: 0, 4: key(RELEASE).kid},
            {4: key(RELEASE).kid},
            {1: -37, 2: [1], 4: key(RELEASE).kid},
            {},
        ):
            entry = [cbor.encode(header), {}, self.entry[2]]
            self.assertEqual(self.refused(self.doc(entry)), "signer")

    def test_shapes(self):
        good = [cbor.encode({3: "outpost/release"}), {}, self.payload, [self.entry]]
        self.assertIsNone(self.refused(b"\xd8\x62" + cbor.encode(good)))
        for index, value in (
            (0, {}),
            (1, {4: b"x"}),
            (1, []),
            (2, None),
            (2, "text"),
            (3, {}),
            (3, [self.entry] * 9),
            (3, [[]]),
            (3, [1]),
            (3, [[self.entry[0], {1: 2}, self.entry[2]]]),
            (3, [[self.entry[0], {}, 1]]),
            (3, [self.entry[:2]]),
        ):
            bad = list(good)
            bad[index] = value
            self.assertEqual(self.refused(b"\xd8\x62" + cbor.encode(bad)), "cose-shape")
        for bad in ([], good[:3], good + [None], {}, 1):
            self.assertEqual(self.refused(b"\xd8\x62" + cbor.encode(bad)), "cose-shape")
        self.assertEqual(self.refused(b"\xd2" + cbor.encode(good)), "cose-shape")  # COSE_Sign1
        self.assertEqual(self.refused(cbor.encode(good)), "cose-shape")  # no tag

    def test_too_large(self):
        overhead = len(sign("release", bytes(7000), RELEASE)) - 7000
        doc = sign("release", bytes(8192 - overhead), RELEASE)
        self.assertEqual(len(doc), 8192)
        self.assertIsNone(self.refused(doc))
        self.assertEqual(
            self.refused(sign("release", bytes(8193 - overhead), RELEASE)), "doc-size"
        )
        self.assertEqual(self.refused(sign("release", bytes(8192), RELEASE)), "doc-size")

    def test_every_prefix(self):
        doc = self.doc(self.entry)
        for size in range(len(doc)):
            code = self.refused(doc[:size])
            self.assertEqual(code, "cose-shape" if size < 2 else "cbor-short")

    def test_every_byte_flipped(self):
        doc = bytearray(self.doc(self.entry))
        for index in range(len(doc)):
            doc[index] ^= 1 << index % 8
            self.assertIsNotNone(self.refused(doc))
            doc[index] ^= 1 << index % 8


class TestThreshold(unittest.TestCase):
    def setUp(self):
        self.root = root(release=(2, (RELEASE, 6, 7), 0))
        self.payload = cbor.encode(release_map())

    def refused(self, *seeds):
        return reason(trust.verify, self.root, "release", sign("release", self.payload, *seeds))

    def test_counts_distinct_keys(self):
        self.assertEqual(self.refused(RELEASE), "threshold")
        self.assertEqual(self.refused(RELEASE, RELEASE), "threshold")
        self.assertEqual(self.refused(7, 7, 7, 7, 7, 7, 7, 7), "threshold")
        self.assertIsNone(self.refused(RELEASE, 6))
        self.assertIsNone(self.refused(7, 6))

    def test_strangers_neither_count_nor_harm(self):
        self.assertEqual(self.refused(98, RELEASE), "threshold")
        self.assertIsNone(self.refused(98, RELEASE, 99, 7))
        self.assertEqual(self.refused(98, 99), "signer")

    def test_none_is_verified_beyond_the_threshold(self):
        entries = [toykeys.entry("release", self.payload, key(seed)) for seed in (RELEASE, 6, 7)]
        entries[2][2] = bytes(384)
        doc = toykeys.assemble("release", self.payload, entries)
        self.assertIsNone(reason(trust.verify, self.root, "release", doc))

    def test_one_bad_signature_is_one_too_many(self):
        entries = [toykeys.entry("release", self.payload, key(seed)) for seed in (RELEASE, 6)]
        entries[1][2] = entries[0][2]
        doc = toykeys.assemble("release", self.payload, entries)
        self.assertEqual(reason(trust.verify, self.root, "release", doc), "signature")


class TestRoot(unittest.TestCase):
    def refused(self, value):
        return reason(trust.parse_root, cbor.encode(value))

    def test_good(self):
        value = toykeys.root_map()
        self.assertEqual(trust.parse_root(cbor.encode(value)), value)

    def test_fields(self):
        for name in ("version", "keys", "roles"):
            value = toykeys.root_map()
            del value[name]
            self.assertEqual(self.refused(value), "field")
        self.assertEqual(self.refused([]), "field")

    def test_keys(self):
        good = key(1).modulus
        small = bytes(1) + good[1:]
        even = good[:-1] + b"\x02"
        for modulus in (good[1:], good + b"\1", small, even, b"", 5, None):
            value = toykeys.root_map()
            kid = trust.sha256(modulus)[:8] if isinstance(modulus, bytes) else b"8 bytes."
            value["keys"][kid] = modulus
            self.assertEqual(self.refused(value), "root-keys")

    def test_a_key_under_another_id(self):
        value = toykeys.root_map()
        value["keys"][b"8 bytes."] = key(1).modulus
        self.assertEqual(self.refused(value), "root-keys")

    def test_roles(self):
        kid = key(RELEASE).kid
        for entry in (
            None,
            [],
            [1, [kid]],
            [True, [kid], 0],
            [1, kid, 0],
            [1, [kid], None],
            [0, [kid], 0],
            [-1, [kid], 0],
            [2, [kid], 0],
            [2, [kid, kid], 0],
            [1, [kid, kid], 0],
            [1, [b"unknown!"], 0],
            [1, [1], 0],
            [1, [[kid]], 0],
            [1, [], 0],
        ):
            for role in ("root", "release", "head", "ops"):
                value = toykeys.root_map()
                value["roles"][role] = entry
                self.assertEqual(self.refused(value), "root-roles")
        value = toykeys.root_map()
        del value["roles"]["ops"]
        self.assertEqual(self.refused(value), "root-roles")


class TestNextRoot(unittest.TestCase):
    def setUp(self):
        self.root = root(root=(2, (1, 2, 8), 0))

    def refused(self, doc):
        return reason(trust.next_root, self.root, doc)

    def rotated(self, *seeds, **roles):
        return sign("root", toykeys.root_map(2, **roles), *seeds)

    def test_same_keys(self):
        doc = self.rotated(1, 2, root=(2, (1, 2, 8), 0))
        self.assertEqual(trust.next_root(self.root, doc)["version"], 2)

    def test_a_key_replaced(self):
        new = (2, (1, 2, 9), 0)
        self.assertIsNone(self.refused(self.rotated(1, 2, root=new)))
        self.assertEqual(self.refused(self.rotated(1, 9, root=new)), "threshold")

    def test_all_keys_replaced_needs_both_thresholds(self):
        new = (2, (10, 11, 12), 0)
        self.assertEqual(self.refused(self.rotated(1, 2, root=new)), "signer")
        self.assertEqual(self.refused(self.rotated(10, 11, root=new)), "signer")
        self.assertEqual(self.refused(self.rotated(1, 2, 10, root=new)), "threshold")
        self.assertEqual(self.refused(self.rotated(1, 10, 11, root=new)), "threshold")
        self.assertIsNone(self.refused(self.rotated(1, 10, 2, 11, root=new)))

    def test_versions(self):
        for version in (-1, 0, 1, 3, 2**40):
            doc = sign("root", toykeys.root_map(version, root=(2, (1, 2, 8), 0)), 1, 2)
            self.assertEqual(self.refused(doc), "root-version")

    def test_the_stored_one_is_taken_apart_but_not_verified(self):
        doc = sign("root", toykeys.root_map(), 1)
        self.assertEqual(trust.stored_root(doc)["version"], 1)
        self.assertEqual(reason(trust.stored_root, sign("head", head_map(), HEAD)), "cose-type")
        self.assertEqual(reason(trust.stored_root, b""), "cose-shape")


class TestHead(unittest.TestCase):
    def read(self, fields=None, name="stable", seen=(0, 0), now_s=None, era=0, by=HEAD):
        made = root(head=(1, (HEAD,), era))
        doc = sign("head", head_map(**(fields or {})), by)
        return trust.read_head(made, doc, name, list(seen), now_s)

    def refused(self, *args, **kwargs):
        try:
            self.read(*args, **kwargs)
        except VerifyError as error:
            return error.code
        return None

    def test_good(self):
        head = self.read({"sequence": 7}, seen=(0, 7))
        self.assertEqual((head["sequence"], head["era"], head["frozen"]), (7, 0, False))

    def test_name(self):
        self.assertEqual(self.refused(name="beta"), "head-name")
        self.assertEqual(self.refused({"name": "device-7"}), "head-name")

    def test_sequence(self):
        self.assertEqual(self.refused({"sequence": 6}, seen=(0, 7)), "head-rollback")
        self.assertEqual(self.refused({"sequence": -1}), "head-rollback")
        self.assertIsNone(self.refused({"sequence": 8}, seen=(0, 7)))

    def test_a_new_era_starts_again(self):
        self.assertIsNone(self.refused({"sequence": 1}, seen=(0, 2**60), era=1))
        self.assertEqual(self.refused({"sequence": 2**62}, seen=(1, 1), era=0), "head-rollback")

    def test_expiry_is_an_alarm(self):
        self.assertFalse(self.read(now_s=2000)["frozen"])
        self.assertTrue(self.read(now_s=2001)["frozen"])
        self.assertFalse(self.read(now_s=None)["frozen"])
        self.assertFalse(self.read(now_s=0)["frozen"])

    def test_fields(self):
        for name, value in (
            ("release", "x"),
            ("sequence", True),
            ("expires", None),
            ("root", b""),
        ):
            self.assertEqual(self.refused({name: value}), "field")

    def test_signer(self):
        self.assertEqual(self.refused(by=RELEASE), "signer")


class TestRelease(unittest.TestCase):
    def refused(self, device=None, files=None, **fields):
        """Through what a device does: verify, parse, compare."""
        doc = sign("release", release_map(files, **fields), RELEASE)
        return self.judged(doc, device)

    def judged(self, doc, device=None, digest=None):
        facts = dict(DEVICE)
        facts.update(device or {})
        try:
            release = trust.parse_release(trust.verify(root(), "release", doc), digest)
            trust.check_release(release, facts)
        except VerifyError as error:
            return error.code
        return None

    def test_good(self):
        self.assertIsNone(self.refused())

    def test_digest(self):
        payload = cbor.encode(release_map())
        doc = sign("release", payload, RELEASE)
        self.assertIsNone(self.judged(doc, digest=trust.sha256(payload)))
        self.assertEqual(self.judged(doc, digest=bytes(32)), "digest")

    def test_each_field_is_needed(self):
        for name in toykeys.release_map():
            if name not in ("config", "sbom", "source"):
                value = release_map()
                del value[name]
                self.assertEqual(self.judged(sign("release", value, RELEASE)), "field")
                value[name] = 1.5 if name == "none" else None
                self.assertEqual(self.judged(sign("release", value, RELEASE)), "field")

    def test_product_and_board(self):
        self.assertEqual(self.refused(product="pump"), "product")
        self.assertEqual(self.refused(boards={"esp32_generic": []}), "board")
        self.assertEqual(self.refused(boards={}), "board")
        self.assertEqual(self.refused(boards={"rpi_pico_w": 2}), "board")
        self.assertEqual(self.refused(boards={"rpi_pico_w": [1, 3]}), "hardware")
        self.assertIsNone(self.refused(boards={"rpi_pico_w": []}))
        self.assertEqual(self.refused(chips=["esp32"]), "chip")

    def test_runtime_that_is_needed(self):
        self.assertEqual(self.refused(mpy=5), "mpy-abi")
        self.assertEqual(self.refused(mpy=7), "mpy-abi")
        self.assertEqual(self.refused(micropython=[1, 26, 0]), "micropython")
        self.assertEqual(self.refused(micropython=[1, 25, 1]), "micropython")
        self.assertIsNone(self.refused(micropython=[1, 9, 4]))
        self.assertIsNone(self.refused({"micropython": [2, 0, 0]}))
        self.assertEqual(self.refused(loader=2), "loader")

    def test_malformed_versions(self):
        for version in ([], [1, 25], [1, 25, 0, 0], [1, 25, "0"], [1, 25, None], [[1], 25, 0]):
            self.assertEqual(self.refused(micropython=version), "field")

    def test_sizes(self):
        self.assertIsNone(self.refused(budget=200000))
        self.assertEqual(self.refused(budget=200001), "slot-budget")
        self.assertEqual(self.refused(budget=3), "slot-size")
        self.assertIsNone(self.refused(budget=4))

    def test_epoch(self):
        self.assertIsNone(self.refused({"floor": [0, 1]}))
        self.assertEqual(self.refused({"floor": [0, 2]}), "epoch")
        self.assertEqual(self.refused({"floor": [1, 0]}), "epoch")
        self.assertIsNone(self.refused({"floor": [0, 2**40], "era": 1}))

    def test_failed_before(self):
        payload = cbor.encode(release_map())
        self.assertEqual(self.refused({"failed": [trust.sha256(payload)]}), "failed-before")

    def test_paths(self):
        for path in (
            "/etc/x", "../x", "a/../b", "a/./b", "./a", "a//b", "a/", "", ".hidden", "a/.b",
            "a\\b", "a b", "a\0b", "\u00fc", "manifest.cose", "seal", "seal/x", "x" * 65, "a:b",
            "a~",
        ):  # fmt: skip
            files = {"node/main.mpy": b"", path: b""}
            self.assertEqual((path, self.refused(files=files)), (path, "path"))
        for path in ("x" * 64, "lib/a-b_C.9", "boards/rpi_pico_w.cbor", "seals", "a/seal"):
            self.assertIsNone(self.refused(files={"node/main.mpy": b"", path: b""}))

    def test_a_file_where_a_folder_must_be(self):
        entry = ["node/main.mpy", 0, trust.sha256(b"")]
        self.assertEqual(self.refused_files([["node", 0, bytes(32)], entry]), "path")
        self.assertEqual(self.refused_files([entry, ["node/main.mpy/x", 0, bytes(32)]]), "path")

    def refused_files(self, files):
        value = release_map()
        value["files"] = files
        return self.judged(sign("release", value, RELEASE))

    def test_file_lists(self):
        entry = ["node/main.mpy", 4, bytes(32)]
        self.assertIsNone(self.refused_files([entry]))
        self.assertEqual(self.refused_files([entry, entry]), "path")
        self.assertEqual(self.refused_files([]), "files")
        self.assertEqual(self.refused_files([["x", 0, bytes(32)]]), "entry")
        for bad in (
            1, [], ["x", 0], ["x", 0, bytes(31)], ["x", 0, "h" * 32], ["x", -1, bytes(32)],
            ["x", True, bytes(32)], [1, 0, bytes(32)], ["x", 0, bytes(32), 0],
        ):  # fmt: skip
            self.assertEqual(self.refused_files([entry, bad]), "files")
        many = [["f%03d" % i, 0, bytes(32)] for i in range(40)]
        self.assertIsNone(self.refused_files([entry] + many[:39]))
        self.assertEqual(self.refused_files([entry] + many), "files")


class TestRuntime(unittest.TestCase):
    """A release that brings its own MicroPython."""

    DEVICE = dict(DEVICE, board="esp32_generic", chip="esp32", runtime_max=1572864)
    RUNTIME = {
        "board": "esp32_generic",
        "build": "3.4.0; MicroPython v1.26.0",
        "mpy": 6,
        "micropython": [1, 26, 0],
        "size": 10000,
        "sha256": bytes(32),
        "chunks": "runtime.sums",
    }
    FILES = {"node/main.mpy": b"", "runtime.sums": bytes(96)}

    def refused(self, runtime=None, device=None, files=None, **fields):
        made = dict(self.RUNTIME)
        made.update(runtime or {})
        facts = dict(self.DEVICE)
        facts.update(device or {})
        value = release_map(files or self.FILES, runtime=made, **fields)
        doc = sign("release", value, RELEASE)

        def judge():
            release = trust.parse_release(trust.verify(root(), "release", doc))
            trust.check_release(release, facts)

        return reason(judge)

    def test_good(self):
        self.assertIsNone(self.refused())

    def test_the_application_needs_the_runtime_it_comes_with(self):
        self.assertIsNone(self.refused(micropython=[1, 26, 0]))
        self.assertEqual(self.refused(micropython=[1, 27, 0]), "micropython")
        self.assertEqual(self.refused(mpy=7), "mpy-abi")
        self.assertIsNone(self.refused({"mpy": 7}, mpy=7))

    def test_no_partition(self):
        self.assertEqual(self.refused(device={"runtime_max": 0}), "runtime-none")

    def test_sizes(self):
        chunks = {"node/main.mpy": b"", "runtime.sums": bytes(384 * 32)}
        whole = {"budget": 200000}
        self.assertIsNone(self.refused({"size": 1572864}, files=chunks, **whole))
        self.assertEqual(self.refused({"size": 1572865}, files=chunks, **whole), "runtime-size")
        self.assertEqual(self.refused({"size": 0}), "runtime-size")
        self.assertEqual(self.refused({"size": -4096}), "runtime-size")

    def test_board(self):
        self.assertEqual(self.refused({"board": "esp32_s3"}), "runtime-board")

    def test_chunks(self):
        self.assertEqual(self.refused({"chunks": "none"}), "runtime-chunks")
        self.assertEqual(self.refused({"size": 12289}), "runtime-chunks")
        self.assertEqual(self.refused({"size": 8192}), "runtime-chunks")
        self.assertIsNone(self.refused({"size": 12288}))
        self.assertIsNone(self.refused({"size": 8193}))

    def test_fields(self):
        for name in self.RUNTIME:
            self.assertEqual(self.refused({name: None}), "field")
        self.assertEqual(self.refused({"micropython": [1, 26]}), "field")


class TestOps(unittest.TestCase):
    def refused(self, fields=None, device_id="dev-1", now_s=100, by=OPS):
        value = {"device": "dev-1", "id": "c1", "command": "wipe", "expires": 200}
        value.update(fields or {})
        return reason(trust.read_ops, root(), sign("ops", value, by), device_id, now_s)

    def test_all(self):
        self.assertIsNone(self.refused())
        self.assertIsNone(self.refused(now_s=200))
        self.assertEqual(self.refused(now_s=201), "ops-expired")
        self.assertEqual(self.refused(now_s=None), "ops-clock")
        self.assertEqual(self.refused(device_id="dev-2"), "ops-device")
        self.assertEqual(self.refused({"id": 7}), "field")
        self.assertEqual(self.refused({"command": None}), "field")
        for seed in (1, RELEASE, HEAD):
            self.assertEqual(self.refused(by=seed), "signer")
