"""The update endpoint: what a device may ask for, and how a cache in between has to behave."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import pytest
from loader import trust
from outpost.errors import OutpostError
from outpost.fleet.fleet import Fleet, now_ms
from outpost.fleet.heads import VALIDITY_S
from outpost.fleet.updates import IMMUTABLE, Item, UpdateFiles, answer
from outpost.signing import cose
from outpost.signing.ceremony import Ceremony
from outpost.signing.keys import SigningKey

from tests.fleet_kit import SCHEMA, identity, make_csr, make_release, make_trust

ITEM = Item(bytes(range(100)), '"tag"', IMMUTABLE)


@pytest.fixture(scope="module")
def ceremony(tmp_path_factory: pytest.TempPathFactory) -> Ceremony:
    return make_trust(tmp_path_factory.mktemp("trust"))


@pytest.fixture
def fleet(tmp_path: Path, ceremony: Ceremony):
    with Fleet.create(tmp_path / "fleet", ceremony.folder) as made:
        yield made


@pytest.fixture
def files(fleet: Fleet) -> UpdateFiles:
    return UpdateFiles(fleet.registry, fleet.folder / "update")


# --- HTTP


def test_whole_answer_says_how_to_cache_it():
    found = answer(ITEM, {})
    assert (found.status, found.body) == (200, ITEM.content)
    assert found.headers["etag"] == '"tag"' and found.headers["cache-control"] == IMMUTABLE
    assert found.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    "header, status",
    [
        ('"tag"', 304),
        ('W/"tag"', 304),
        ('"a", "tag"', 304),
        ("*", 304),
        ('"other"', 200),
        ("", 200),
    ],
)
def test_unchanged_costs_no_body(header, status):
    found = answer(ITEM, {"if-none-match": header})
    assert (found.status, len(found.body)) == (status, 0 if status == 304 else 100)


@pytest.mark.parametrize(
    "header, span",
    [
        ("bytes=0-", (0, 99)),
        ("bytes=10-19", (10, 19)),
        ("bytes=90-500", (90, 99)),
        ("bytes=-5", (95, 99)),
        ("bytes=-500", (0, 99)),
        ("bytes=99-", (99, 99)),
    ],
)
def test_range_gives_that_part(header, span):
    found = answer(ITEM, {"range": header})
    assert found.status == 206
    assert found.body == ITEM.content[span[0] : span[1] + 1]
    assert found.headers["content-range"] == f"bytes {span[0]}-{span[1]}/100"


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_range_outside_is_not_satisfiable(header):
    found = answer(ITEM, {"range": header})
    assert (found.status, found.body) == (416, b"")
    assert found.headers["content-range"] == "bytes */100"


@pytest.mark.parametrize(
    "header",
    [
        "bytes=",
        "bytes=-",
        "bytes=5-1",
        "bytes=0-1,5-6",
        "lines=0-1",
        "bytes=a-b",
        "bytes=0-" + "9" * 100,
        "bytes=0-1 ",
    ],
)
def test_other_ranges_are_ignored(header):
    assert answer(ITEM, {"range": header}).status == 200


def test_range_of_something_else_gives_the_whole():
    assert answer(ITEM, {"range": "bytes=1-2", "if-range": '"old"'}).status == 200
    assert answer(ITEM, {"range": "bytes=1-2", "if-range": '"tag"'}).status == 206


def test_absent_is_not_cached():
    found = answer(None, {})
    assert (found.status, found.headers["cache-control"]) == (404, "no-store")


# --- the repository


def test_published_release_is_there_blobs_and_all(fleet, files, tmp_path, ceremony):
    release = fleet.publish(make_release(tmp_path, ceremony, "1.0.0"))
    document = files.find(f"releases/{release.digest}.cose")
    root = trust.stored_root(files.find("roots/1.cose").content)
    parsed = trust.parse_release(trust.verify(root, "release", document.content))
    for _, size, digest in parsed["files"]:
        content = zlib.decompress(files.find(f"blobs/{digest.hex()}").content)
        assert len(content) == size and hashlib.sha256(content).digest() == digest
    assert fleet.registry.releases.schema(release.schema_id) == SCHEMA
    assert document.caching == IMMUTABLE


def test_publishing_again_changes_nothing(fleet, tmp_path, ceremony):
    folder = make_release(tmp_path, ceremony, "1.0.0")
    assert fleet.publish(folder) == fleet.publish(folder)
    assert len(fleet.registry.audit.lines()) == 1


@pytest.mark.parametrize(
    "path",
    [
        "",
        "heads",
        "heads/",
        "heads/.cose",
        "heads/../../token.cose",
        "blobs/../../token",
        "roots/0.cose",
        "roots/-1.cose",
        "roots/1",
        "releases/" + "g" * 64 + ".cose",
        "token",
        "blobs/" + "a" * 63,
        "blobs/" + "A" * 64,
        "blobs/" + "a" * 64 + "\n",
        "heads/w-1",
        "//token",
        "heads/w-1.cose",
    ],
)
def test_nothing_else_is_served(files, path):
    assert files.find(path) is None


@pytest.mark.parametrize(
    "break_it, code",
    [
        (lambda doc, keys: doc[:-1], "cbor-short"),
        (lambda doc, keys: doc[:-9] + bytes([doc[-9] ^ 1]) + doc[-8:], "signature"),
        (
            lambda doc, keys: cose.sign(
                "release", cose.signatures_of("release", doc)[0], SigningKey.generate()
            ),
            "signer",
        ),
        (
            lambda doc, keys: cose.sign(
                "release", cose.signatures_of("release", doc)[0], keys.key("head")
            ),
            "signer",
        ),
        (lambda doc, keys: cose.signatures_of("release", doc)[0], "cose-shape"),
    ],
    ids=["cut", "flipped", "stranger", "head-key", "unsigned"],
)
def test_release_that_does_not_verify_is_refused_before_anything_is_stored(
    fleet, tmp_path, ceremony, break_it, code
):
    folder = make_release(tmp_path, ceremony, "1.0.0")
    path = folder / "release.cose"
    path.write_bytes(break_it(path.read_bytes(), ceremony))
    with pytest.raises(OutpostError) as caught:
        fleet.publish(folder)
    assert (caught.value.code, caught.value.exit_code) == (code, 5)
    assert fleet.registry.releases.all() == []
    assert list((fleet.folder / "update" / "blobs").iterdir()) == []


def test_release_whose_files_are_not_the_signed_ones_is_refused(fleet, tmp_path, ceremony):
    folder = make_release(tmp_path, ceremony, "1.0.0")
    (folder / "files" / "node" / "main.mpy").write_bytes(b"evil 1.0.0")
    with pytest.raises(OutpostError) as caught:
        fleet.publish(folder)
    assert caught.value.code == "slot-hash"
    assert fleet.registry.releases.all() == []


def test_next_root_is_taken_only_when_signed_by_the_one_before(fleet, files, tmp_path, ceremony):
    own = make_trust(tmp_path / "own")
    with Fleet.create(tmp_path / "other", own.folder) as other:
        stranger = make_trust(tmp_path / "stranger")
        with pytest.raises(OutpostError) as caught:
            other.add_root(stranger.root(1))
        assert caught.value.exit_code == 5
        version = own.rotate("release", [SigningKey.generate().public])
        own.sign_root(version, own.key("root-1"))
        assert other.add_root(own.root(2)) == 2
        assert UpdateFiles(other.registry, other.folder / "update").find("roots/2.cose")


# --- heads


def test_head_is_what_a_device_verifies(fleet, files, tmp_path, ceremony):
    release = fleet.publish(make_release(tmp_path, ceremony, "1.0.0"))
    fleet.heads.point("w-1", release.digest, now_ms())
    first = files.find("heads/w-1.cose")
    root = trust.stored_root(fleet.root)
    head = trust.read_head(root, first.content, "w-1", [0, 0], now_ms() // 1000)
    assert (head["release"].hex(), head["sequence"], head["frozen"]) == (release.digest, 1, False)
    fleet.heads.point("w-1", release.digest, now_ms())
    second = files.find("heads/w-1.cose")
    assert second.etag != first.etag and second.caching == "no-cache"
    assert trust.read_head(root, second.content, "w-1", [0, 1], None)["sequence"] == 2


def test_heads_are_renewed_long_before_they_expire(fleet, tmp_path, ceremony):
    release = fleet.publish(make_release(tmp_path, ceremony, "1.0.0"))
    fleet.heads.point("w-1", release.digest, 0)
    half_ms = VALIDITY_S * 1000 // 2
    assert fleet.heads.renew(half_ms - 1) == 0
    assert fleet.heads.renew(half_ms + 1) == 1
    head = fleet.registry.releases.head("w-1")
    assert (head.sequence, head.release) == (2, release.digest)


def test_sequence_survives_a_restart(fleet, tmp_path, ceremony):
    release = fleet.publish(make_release(tmp_path, ceremony, "1.0.0"))
    fleet.heads.point("w-1", release.digest, now_ms())
    fleet.close()
    with Fleet.open(fleet.folder) as again:
        assert again.heads.point("w-1", release.digest, now_ms()).sequence == 2


def test_head_of_an_unpublished_release_or_a_bad_name_is_refused(fleet, tmp_path, ceremony):
    with pytest.raises(OutpostError):
        fleet.heads.point("w-1", "ab" * 32, 0)
    release = fleet.publish(make_release(tmp_path, ceremony, "1.0.0"))
    with pytest.raises(OutpostError):
        fleet.heads.point("../w-1", release.digest, 0)


# --- a fleet's folder


def test_fleet_without_trust_takes_no_release(tmp_path, ceremony):
    with Fleet.create(tmp_path / "bare") as bare:
        with pytest.raises(OutpostError) as caught:
            bare.publish(make_release(tmp_path, ceremony, "1.0.0"))
        assert caught.value.code == "no-root"


def test_fleet_is_made_once_and_its_secrets_are_private(fleet):
    with pytest.raises(OutpostError) as caught:
        Fleet.create(fleet.folder)
    assert caught.value.code == "fleet-exists"
    for name in ("token", "ca/ca.key", "keys/head.pem"):
        assert (fleet.folder / name).stat().st_mode & 0o077 == 0, name


def test_enrolment_revokes_the_certificate_it_replaces(fleet):
    from cryptography.hazmat.primitives.asymmetric import ec

    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    fleet.enroll(make_csr(keys[0]), identity("w-1"))
    first = fleet.registry.devices.get("w-1").cert_serial
    fleet.enroll(make_csr(keys[0]), identity("w-1"))
    assert first not in fleet.ca.revoked(), "the same key again is a retry of the station"
    second = fleet.registry.devices.get("w-1").cert_serial
    fleet.enroll(make_csr(keys[1]), identity("w-1"))
    assert second in fleet.ca.revoked()


def test_retired_device_is_revoked_once(fleet):
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    serials = set()
    for _ in range(2):
        fleet.enroll(make_csr(key), identity("w-1"))
        serials.add(fleet.registry.devices.get("w-1").cert_serial)
    assert fleet.retire("w-1").state == "decommissioned"
    assert len(serials) == 2 and serials <= set(fleet.ca.revoked())
    with pytest.raises(OutpostError) as caught:
        fleet.retire("w-1")
    assert caught.value.exit_code == 7
