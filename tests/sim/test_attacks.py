"""The attacks that TUF (specification section 1.5.2) and Uptane (standard section 4.2) name, each
against the device's own code on the VM: its loader, its updater and its HTTP, over a real socket.

Not here, as nothing is promised against it: eavesdropping ("read updates"); releases are not
secret.
"""

import hashlib
import socket
import time

import pytest
from loader import cbor
from outpost.signing import cose, documents
from outpost.signing.documents import Role
from outpost.signing.keys import SigningKey

from tests.faults import inputs
from tests.sim.update_harness import HEAD, Device, Publisher, Web, compress

_HEAD_PATH = f"/update/heads/{HEAD}.cose"


RUNTIME = {
    "build": "another",
    "mpy": 6,
    "micropython": [1, 25, 0],
    "size": 10_000,
    "sha256": bytes(32),
    "chunks": "chunks",
}


class Fleet:
    """A device with release 1.0, and a repository that offers 1.1; then somebody interferes."""

    def __init__(self, folder, keys, thief):
        self.keys = keys
        self.thief = thief
        self.device = Device(folder)
        self.publisher = Publisher(keys)
        self.old = {
            "node/main.mpy": inputs.noise("main", 3000),
            "node/core/x.mpy": inputs.noise("x", 2000),
        }
        self.new = dict(self.old, **{"node/main.mpy": inputs.noise("main2", 9000)})
        self.root = keys.root(1)
        self.old_document, self.old_digest = self.publisher.release(self.old)
        self.new_document, self.new_digest = self.publisher.release(self.new, version="1.1")
        self.publisher.head(self.new_digest, 7)
        self.web = Web(self.publisher.paths)
        self.manufacture()

    def manufacture(self, **changes):
        self.device.manufacture(self.root, self.old_document, self.old, **changes)

    def check(self, **settings):
        with self.web.running() as url:
            return self.device.check(url, **settings)

    def refuses(self, *code, **settings):
        """The device says one of these codes, and what it may execute is what it was before."""
        outcome = self.check(**settings)
        assert (outcome.outcome, outcome.code) in [
            (kind, c) for kind in ("refused", "failed") for c in code
        ], outcome.text
        assert not self.activated()
        return outcome

    def installs(self, files, **settings):
        outcome = self.check(**settings)
        assert outcome.outcome == "reboot", outcome.text
        flash = self.device.tree()
        got = {path[3:]: data for path, data in flash.items() if path.startswith("/b/")}
        got.pop("seal"), got.pop("manifest.cose")
        assert got == files
        return outcome

    def activated(self):
        flash = self.device.tree()
        record = (
            cbor.decode(flash["/outpost/boot.cbor"][8:]) if "/outpost/boot.cbor" in flash else {}
        )
        running = {path[3:] for path in flash if path.startswith("/a/")} - {
            "seal",
            "manifest.cose",
        }
        assert running == set(self.old)
        assert all(flash[f"/a/{path}"] == data for path, data in self.old.items())
        return bool(record.get("trial")) or "/b/manifest.cose" in flash

    def untouched(self):
        return not [path for path in self.device.tree() if path.startswith("/b/")]

    def blob(self, path):
        return f"/update/blobs/{hashlib.sha256(self.new[path]).hexdigest()}"

    def document(self):
        return f"/update/releases/{self.new_digest.hex()}.cose"


@pytest.fixture(scope="module")
def keys():
    return inputs.Keys()


@pytest.fixture(scope="module")
def thief():
    return SigningKey.generate()


@pytest.fixture
def fleet(tmp_path, keys, thief):
    return Fleet(tmp_path, keys, thief)


def rotated(keys, **roles):
    """Root 2, with the given roles replaced."""
    table = {
        "root": Role(2, tuple(key.public for key in keys.roots)),
        "release": Role(1, (keys.release.public,)),
        "head": Role(1, (keys.head.public,)),
        "ops": Role(1, (keys.roots[0].public,)),
    }
    return documents.root(2, table | roles)


def test_without_an_attack_it_installs(fleet):
    fleet.installs(fleet.new)


def test_a_check_with_nothing_new_is_under_1_kb_on_the_wire(fleet):
    """Request line, fields and body, both ways: everything but TCP's own headers."""
    fleet.publisher.head(fleet.old_digest, 8)
    assert fleet.check().outcome == "current"
    assert len(fleet.web.requests) == 1
    print(f"a check with nothing new: {fleet.web.wire_bytes} bytes on the wire")
    assert 500 < fleet.web.wire_bytes < 1024


# --- TUF


def test_arbitrary_software_by_an_unknown_key(fleet):
    evil = {"node/main.mpy": b"evil"}
    _, digest = fleet.publisher.release(evil, signer=fleet.thief)
    fleet.publisher.head(digest, 8)
    fleet.refuses("signer")
    assert fleet.untouched()


def test_arbitrary_software_in_a_blob(fleet):
    fleet.web.paths[fleet.blob("node/main.mpy")] = compress(inputs.noise("evil", 9000))
    fleet.refuses("blob-hash")


def test_arbitrary_software_by_a_forged_head(fleet):
    fleet.publisher.head(fleet.new_digest, 8, signer=fleet.thief)
    fleet.refuses("signer")
    assert fleet.untouched()


@pytest.mark.parametrize("what", ["head", "release", "blob"])
def test_endless_data(fleet, what):
    path = {"head": _HEAD_PATH, "release": fleet.document(), "blob": fleet.blob("node/main.mpy")}

    def endless(handler, body):
        handler.send_response_only(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(bytes(4096))
        except OSError:
            pass

    fleet.web.tricks[path[what]] = endless
    outcome = fleet.refuses("http-body")
    assert outcome.fetched < 30_000
    assert all(len(data) < 16_000 for data in fleet.device.tree().values())


def test_endless_data_by_a_bomb(fleet):
    fleet.web.paths[fleet.blob("node/main.mpy")] = compress(bytes(5_000_000))
    fleet.refuses("blob-size")
    assert all(len(data) < 16_000 for data in fleet.device.tree().values())


def test_extraneous_dependencies_in_the_document(fleet):
    payload, signatures = cose.signatures_of("release", fleet.new_document)
    release = cbor.decode(payload)
    release["files"].append(["zz.mpy", 4, hashlib.sha256(b"evil").digest()])
    changed = cbor.encode(release)
    fleet.web.paths[fleet.document()] = cose.assemble("release", changed, signatures)
    fleet.refuses("signature")
    assert fleet.untouched()


def test_extraneous_dependencies_outside_the_slot(fleet):
    """Even a signed release reaches nothing outside its slot."""
    for path in ("../outpost/boot.cbor", "/main.py", "node/../../x", "manifest.cose", "a//b"):
        release = cbor.decode(cose.signatures_of("release", fleet.new_document)[0])
        release["files"] = sorted([*release["files"], [path, 4, hashlib.sha256(b"evil").digest()]])
        payload = cbor.encode(release)
        digest = hashlib.sha256(payload).digest()
        document = cose.sign("release", payload, fleet.keys.release)
        fleet.web.paths[f"/update/releases/{digest.hex()}.cose"] = document
        fleet.publisher.head(digest, 8)
        fleet.refuses("path")
        assert fleet.untouched()


def test_fast_forward_is_recovered_from_by_a_new_root(fleet):
    """A stolen head key has driven the sequence to the end of its range."""
    fleet.publisher.head(fleet.old_digest, 2**62)
    assert fleet.check().outcome == "current"
    fleet.publisher.head(fleet.new_digest, 8)
    fleet.refuses("head-rollback")
    new_head = fleet.keys.head2
    payload = rotated(fleet.keys, head=Role(1, (new_head.public,), era=1))
    fleet.web.paths["/update/roots/2.cose"] = cose.sign("root", payload, *fleet.keys.roots)
    fleet.publisher.head(fleet.new_digest, 8, root=2, signer=new_head)
    fleet.installs(fleet.new)


def test_indefinite_freeze_raises_an_alarm_and_blocks_no_repair(fleet):
    fleet.publisher.head(fleet.new_digest, 7, period=(1000, 2000))
    assert fleet.installs(fleet.new, now=2001).frozen


def test_indefinite_freeze_is_not_seen_without_a_clock(fleet):
    fleet.publisher.head(fleet.new_digest, 7, period=(1000, 2000))
    assert not fleet.installs(fleet.new).frozen


def test_malicious_mirror_does_no_lasting_harm(fleet):
    """Whatever a mirror says, the next honest one finishes, and has less to send."""
    path = fleet.blob("node/main.mpy")
    honest = fleet.web.paths[path]
    tricks = (
        (
            lambda handler, body: handler.answer(200, b"<html>", {"Content-Type": "text/html"}),
            "captive",
        ),
        (lambda handler, body: handler.answer(302, b"", {"Location": path}), "http-redirects"),
        (lambda handler, body: handler.answer(302, b"", {"Location": "ftp://h/x"}), "http-url"),
        (
            lambda handler, body: handler.answer(206, b"x", {"Content-Range": "bytes 9-9/99"}),
            "http-range",
        ),
        (lambda handler, body: handler.answer(200, b"x" * 50), "blob-data"),
        (lambda handler, body: handler.answer(410, b""), "http-410"),
    )
    for trick, code in tricks:
        fleet.web.tricks[path] = trick
        fleet.refuses(code)
    fleet.web.tricks.clear()
    assert fleet.installs(fleet.new).fetched <= len(honest) + 1500  # the head and the blob


def test_mix_and_match_of_documents(fleet):
    """Another, older and genuinely signed release under this one's name."""
    fleet.web.paths[fleet.document()] = fleet.old_document
    fleet.refuses("digest")
    assert fleet.untouched()


def test_mix_and_match_of_blobs(fleet):
    fleet.web.paths[fleet.blob("node/main.mpy")] = compress(fleet.old["node/main.mpy"])
    fleet.refuses("blob-size", "blob-hash")


def test_rollback_of_the_head(fleet):
    before = fleet.web.paths[_HEAD_PATH]
    fleet.publisher.head(fleet.old_digest, 8)
    assert fleet.check().outcome == "current"
    fleet.web.paths[_HEAD_PATH] = before
    fleet.refuses("head-rollback")
    assert fleet.untouched()


def test_rollback_across_an_epoch(fleet):
    """Signed, newest head, but from before the epoch that a confirmed release has raised."""
    fleet.old_document, fleet.old_digest = fleet.publisher.release(fleet.old, epoch=5)
    record = {"confirmed": 0, "trial": [], "floor": [0, 5], "failed": [], "heads": {}}
    fleet.manufacture(record=record)
    fleet.publisher.head(fleet.new_digest, 9)
    fleet.refuses("epoch")
    assert fleet.untouched()


def test_slow_retrieval(fleet):
    """A byte now and then: the device gives up, keeps what it has, and goes on with its work."""

    def drip(handler, body):
        handler.send_response_only(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        try:
            for i in range(len(body)):
                handler.wfile.write(body[i : i + 1])
                time.sleep(0.01)  # a second of the device's time
        except OSError:
            pass

    fleet.web.tricks[fleet.document()] = drip
    started = time.monotonic()
    fleet.refuses("http-slow", speed=100)
    assert time.monotonic() - started < 30


def test_key_compromise_of_the_head_key(fleet):
    """The thief can choose among released builds until the key is revoked, and then nothing."""
    payload = rotated(fleet.keys, head=Role(1, (fleet.keys.head2.public,), era=1))
    fleet.web.paths["/update/roots/2.cose"] = cose.sign("root", payload, *fleet.keys.roots)
    fleet.publisher.head(fleet.old_digest, 8, root=2, signer=fleet.keys.head2)
    assert fleet.check().outcome == "current"
    fleet.publisher.head(fleet.new_digest, 99)  # by the revoked key
    fleet.refuses("signer")


def test_key_compromise_of_the_release_key_alone(fleet):
    _, digest = fleet.publisher.release({"node/main.mpy": b"evil"})
    fleet.publisher.head(digest, 8, signer=fleet.thief)
    fleet.refuses("signer")


def test_key_compromise_of_one_root_key(fleet):
    """Two of them make a root; one makes nothing."""
    everything = Role(1, (fleet.thief.public,))
    payload = rotated(fleet.keys, root=everything, release=everything, head=everything)
    for signers in ((fleet.keys.roots[0],), (fleet.keys.roots[0], fleet.thief), (fleet.thief,)):
        fleet.web.paths["/update/roots/2.cose"] = cose.sign("root", payload, *signers)
        fleet.publisher.head(fleet.new_digest, 8, root=2, signer=fleet.thief)
        fleet.refuses("threshold", "signer")
        assert fleet.untouched()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"product": "another"}, "product"),
        ({"boards": {"esp32_generic": []}}, "board"),
        ({"boards": {"rpi_pico_w": [2, 3]}}, "hardware"),
        ({"chips": ["esp32"]}, "chip"),
        ({"mpy": 5}, "mpy-abi"),
        ({"micropython": [9, 0, 0]}, "micropython"),
        ({"loader": 99}, "loader"),
        ({"budget": 10_000_000}, "slot-budget"),
        ({"runtime": {"board": "rpi_pico_w"}}, "runtime-none"),
    ],
)
def test_wrong_software(fleet, change, code):
    if "runtime" in change:
        change["runtime"] = {**RUNTIME, **change["runtime"]}
    _, digest = fleet.publisher.release(fleet.new, **change)
    fleet.publisher.head(digest, 8)
    fleet.refuses(code)
    assert fleet.untouched()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"board": "esp32_generic"}, "runtime-board"),
        ({"size": 5_000_000}, "runtime-size"),
        ({"size": 0}, "runtime-size"),
        ({"chunks": "node/core/x.mpy"}, "runtime-chunks"),
        ({"mpy": 5}, "mpy-abi"),
        ({"micropython": [1, 1, 0]}, "micropython"),
    ],
)
def test_wrong_software_for_the_runtime_partition(fleet, change, code):
    fleet.manufacture(runtime_max=1_500_000)
    runtime = {**RUNTIME, "board": "rpi_pico_w", **change}
    files = dict(fleet.new, chunks=bytes(32 * 3))
    _, digest = fleet.publisher.release(files, runtime=runtime)
    fleet.publisher.head(digest, 8)
    fleet.refuses(code)
    assert fleet.untouched()


def test_wrong_software_for_another_device(fleet):
    fleet.publisher.head(fleet.new_digest, 8, name="another-device")
    fleet.refuses("head-name")


# --- Uptane


def test_drop_request(fleet):
    """Nobody answers: the device keeps trying for a while, and keeps running."""
    with socket.create_server(("127.0.0.1", 0)) as hole:
        outcome = fleet.device.check(f"http://127.0.0.1:{hole.getsockname()[1]}/update", speed=100)
    assert (outcome.outcome, outcome.code) in (("failed", "http-idle"), ("failed", "link"))
    assert not fleet.activated()
    fleet.installs(fleet.new)


def test_partial_bundle_installation(fleet):
    """Some of the files, for ever: nothing is activated without all of them."""
    del fleet.web.paths[fleet.blob("node/main.mpy")]
    fleet.refuses("http-404")
    assert fleet.check().outcome == "failed"


def test_mixed_bundles(fleet):
    """Each blob genuine, each of another release."""
    other = dict(fleet.new, **{"node/core/x.mpy": inputs.noise("x2", 2000)})
    _, digest = fleet.publisher.release(other)
    fleet.publisher.head(digest, 8)
    x2 = f"/update/blobs/{hashlib.sha256(other['node/core/x.mpy']).hexdigest()}"
    fleet.web.paths[x2] = compress(fleet.old["node/core/x.mpy"])
    fleet.refuses("blob-hash")


def test_deny_functionality_by_a_root_that_nobody_has(fleet):
    fleet.publisher.head(fleet.new_digest, 8, root=2)
    fleet.refuses("root-missing")
    assert fleet.untouched()
