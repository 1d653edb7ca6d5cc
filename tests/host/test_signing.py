"""Signing: real RSA-3072 keys, judged by the device's code and by cryptography and cbor2."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from loader import trust
from loader.cbor import VerifyError
from outpost.errors import OutpostError
from outpost.signing import Ceremony, SigningKey, cose, documents, explain, sign
from outpost.signing.documents import Role
from outpost.signing.keys import PublicKey
from outpost.signing.repository import Plan, Repository

pytestmark = pytest.mark.afresh

CONTENT = {"node/main.mpy": b"M\x06main", "schema.cbor": b"\x80"}
FIELDS: dict[str, Any] = {
    "product": "weather",
    "version": "1.0.0",
    "epoch": 1,
    "boards": {"rpi_pico_w": []},
    "chips": ["rp2040"],
    "mpy": 6,
    "micropython": [1, 25, 0],
    "loader": 1,
    "budget": 8192,
    "health": {"deadline_s": 60, "publishes": 1, "heap_floor": 0, "connected": True},
    "config": bytes(32),
    "sbom": bytes(32),
    "source": "test",
}


def release_payload(**fields: Any) -> bytes:
    files = [(name, len(data), trust.sha256(data)) for name, data in CONTENT.items()]
    return documents.release({**FIELDS, **fields}, files)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one ceremony; tests that change it work on a copy."""
    folder = tmp_path_factory.mktemp("ceremony") / "keys"
    Ceremony.create(folder, plain=True)
    return folder


@pytest.fixture
def ceremony(made: Path, tmp_path: Path) -> Ceremony:
    import shutil

    shutil.copytree(made, tmp_path / "ceremony")
    return Ceremony(tmp_path / "ceremony")


def root_of(ceremony: Ceremony) -> dict[str, Any]:
    return trust.stored_root(ceremony.root())


def code_of(error: pytest.ExceptionInfo[Any]) -> str:
    return str(error.value.code)


# --- COSE, independently


def judged_independently(document: bytes, role: str, key: PublicKey) -> Any:
    """RFC 9052 and RFC 8230 by cbor2 and cryptography, without a line of ours."""
    tagged = cbor2.loads(document)
    assert tagged.tag == 98
    protected, unprotected, payload, signatures = tagged.value
    assert cbor2.loads(protected) == {3: f"outpost/{role}"} and unprotected == {}
    for sign_protected, sign_unprotected, signature in signatures:
        header = cbor2.loads(sign_protected)
        assert header[1] == -37 and sign_unprotected == {}
        if header[4] == key.kid:
            structure = ["Signature", protected, sign_protected, b"", payload]
            numbers = rsa.RSAPublicNumbers(65537, int.from_bytes(key.modulus, "big"))
            numbers.public_key().verify(
                signature,
                cbor2.dumps(structure, canonical=True),
                padding.PSS(padding.MGF1(hashes.SHA256()), 32),
                hashes.SHA256(),
            )
            return cbor2.loads(payload)
    raise AssertionError("not signed by this key")


def test_our_documents_are_cose_sign_with_ps256(ceremony: Ceremony) -> None:
    payload = release_payload()
    document = sign("release", payload, ceremony.key("release"))
    assert judged_independently(document, "release", ceremony.public("release")) == cbor2.loads(
        payload
    )
    damaged = document[:-1] + bytes([document[-1] ^ 1])
    with pytest.raises(InvalidSignature):
        judged_independently(damaged, "release", ceremony.public("release"))


def test_cose_sign_made_by_others_is_accepted(ceremony: Ceremony) -> None:
    key = ceremony.key("release")
    private = serialization.load_pem_private_key(ceremony.key_path("release").read_bytes(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    payload = release_payload()
    body, signer = cbor2.dumps({3: "outpost/release"}), cbor2.dumps({1: -37, 4: key.kid})
    structure = cbor2.dumps(["Signature", body, signer, b"", payload])
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    signature = private.sign(structure, pss, hashes.SHA256())
    document = cbor2.dumps(cbor2.CBORTag(98, [body, {}, payload, [[signer, {}, signature]]]))
    assert bytes(trust.verify(root_of(ceremony), "release", document)) == payload


@pytest.mark.parametrize("salt", [0, 20, 31, 33, 64])
def test_other_salt_lengths_are_refused(ceremony: Ceremony, salt: int) -> None:
    private = serialization.load_pem_private_key(ceremony.key_path("release").read_bytes(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), salt)
    signature = private.sign(b"message", pss, hashes.SHA256())
    modulus = ceremony.public("release").modulus
    assert not trust.pss_verify(modulus, trust.sha256(b"message"), signature)


def test_our_cbor_is_cbor2s_canonical_form(ceremony: Ceremony) -> None:
    for payload in (release_payload(), trust.unwrap("root", ceremony.root())[0]):
        assert cbor2.dumps(cbor2.loads(payload), canonical=True) == bytes(payload)


# --- signing together


def test_several_people_sign_one_file_in_turn(ceremony: Ceremony, tmp_path: Path) -> None:
    others = [SigningKey.generate() for _ in range(2)]
    publics = [ceremony.public("release"), *(key.public for key in others)]
    ceremony.rotate("release", publics, threshold=2)
    assert ceremony.sign_root(2, ceremony.key("root-1"), ceremony.key("root-2"))
    root = root_of(ceremony)
    source, target = tmp_path / "release.cbor", tmp_path / "release.cose"
    source.write_bytes(release_payload())
    cose.sign_file("release", source, target, ceremony.key("release"))
    with pytest.raises(VerifyError) as error:
        trust.verify(root, "release", target.read_bytes())
    assert code_of(error) == "threshold"
    cose.sign_file("release", target, target, others[1])
    assert bytes(trust.verify(root, "release", target.read_bytes())) == source.read_bytes()
    before = target.read_bytes()
    assert cose.sign("release", before, others[1]) == before  # nobody signs twice


def test_a_payload_a_device_would_refuse_is_not_made() -> None:
    for fields, code in (
        ({"micropython": [1, 25]}, "field"),
        ({"health": {"deadline_s": 1}}, "field"),
        ({"config": "x"}, "field"),
        ({"budget": 1}, "slot-size"),
    ):
        with pytest.raises(OutpostError) as error:
            release_payload(**fields)
        assert code_of(error) == code
    with pytest.raises(OutpostError) as error:
        documents.release(FIELDS, [("../boot.py", 0, bytes(32))])
    assert code_of(error) == "path"


def test_a_document_a_device_could_not_take_is_not_made(ceremony: Ceremony) -> None:
    with pytest.raises(OutpostError) as error:
        sign("release", bytes(8000), ceremony.key("release"))
    assert code_of(error) == "doc-size"


# --- keys at rest


def test_private_keys_are_encrypted_and_private(tmp_path: Path) -> None:
    key = SigningKey.generate()
    path = tmp_path / "deep" / "release.pem"
    key.save(path, b"correct horse")
    assert b"ENCRYPTED PRIVATE KEY" in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey.load(path, b"correct horse").kid == key.kid
    for wrong in (b"wrong", None, b""):
        with pytest.raises(OutpostError) as error:
            SigningKey.load(path, wrong)
        assert code_of(error) == "key-file"
        assert "horse" not in str(error.value) and "wrong" not in str(error.value)
    with pytest.raises(OutpostError) as error:
        key.save(path, b"other")
    assert code_of(error) == "key-exists"
    with pytest.raises(OutpostError) as error:
        key.save(tmp_path / "plain.pem", None)
    assert code_of(error) == "passphrase"
    assert repr(key) == f"SigningKey({key.kid.hex()})"


def test_public_halves_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "key.pub.json"
    SigningKey.generate().public.save(path)
    PublicKey.load(path)
    text = path.read_text()
    for damaged in ("{}", "", text.replace('"kid": "', '"kid": "00'), text[:-20]):
        path.write_text(damaged)
        with pytest.raises(OutpostError):
            PublicKey.load(path)


# --- ceremonies


def test_a_new_root_needs_the_old_ones_threshold_and_its_own(ceremony: Ceremony) -> None:
    fresh = [SigningKey.generate() for _ in range(2)]
    root = root_of(ceremony)
    version = ceremony.rotate("root", [key.public for key in fresh], threshold=2)
    assert version == 2
    assert not ceremony.sign_root(2, *fresh)
    assert not ceremony.sign_root(2, ceremony.key("root-1"))
    assert ceremony.version() == 1
    assert ceremony.sign_root(2, ceremony.key("root-3"))
    assert ceremony.version() == 2
    assert trust.next_root(root, ceremony.root())["version"] == 2
    with pytest.raises(OutpostError) as error:
        ceremony.sign_root(3, fresh[0])
    assert code_of(error) == "no-proposal"


def test_a_pending_root_is_not_proposed_over(ceremony: Ceremony) -> None:
    ceremony.rotate("head", [SigningKey.generate().public])
    ceremony.sign_root(2, ceremony.key("root-1"))
    with pytest.raises(OutpostError) as error:
        ceremony.rotate("head", [SigningKey.generate().public])
    assert code_of(error) == "root-pending"


def test_revocation(ceremony: Ceremony) -> None:
    stolen = ceremony.key("release")
    fresh = SigningKey.generate()
    ceremony.rotate("release", [stolen.public, fresh.public])
    assert ceremony.sign_root(2, ceremony.key("root-1"), ceremony.key("root-2"))
    assert ceremony.revoke(stolen.kid) == 3
    assert ceremony.sign_root(3, ceremony.key("root-1"), ceremony.key("root-2"))
    assert ceremony.roles()["release"] == Role(1, (fresh.public,), 1)
    with pytest.raises(VerifyError) as error:
        trust.verify(root_of(ceremony), "release", sign("release", release_payload(), stolen))
    assert code_of(error) == "signer"
    with pytest.raises(OutpostError) as refused:
        ceremony.revoke(fresh.kid)
    assert code_of(refused) == "root-roles"
    with pytest.raises(OutpostError) as unknown:
        ceremony.revoke(bytes(8))
    assert code_of(unknown) == "key-unknown"


def test_a_ceremony_is_not_repeated_over_another(ceremony: Ceremony) -> None:
    with pytest.raises(OutpostError) as error:
        Ceremony.create(ceremony.folder, plain=True)
    assert code_of(error) == "root-exists"


# --- explaining


def test_explanations_end_where_the_device_would(ceremony: Ceremony, tmp_path: Path) -> None:
    for name, data in CONTENT.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    document = sign("release", release_payload(), ceremony.key("release"))
    context = explain.Context(files=tmp_path)
    verdict = explain.explain("release", document, ceremony.root(), context)
    assert verdict.ok and verdict.checks[-1].name == "contents"
    (tmp_path / "schema.cbor").write_bytes(b"\x81")
    verdict = explain.explain("release", document, ceremony.root(), context)
    assert (verdict.ok, verdict.code) == (False, "slot-hash")
    assert "schema.cbor" in verdict.checks[-1].found
    forged = sign("release", release_payload(), ceremony.key("head"))
    assert explain.explain("release", forged, ceremony.root()).code == "signer"
    assert explain.explain("release", document[:-9], ceremony.root()).code == "cbor-short"
    flipped = document[:-9] + bytes([document[-9] ^ 1]) + document[-8:]
    assert explain.explain("release", flipped, ceremony.root()).code == "signature"


def test_heads_and_ops_are_explained(ceremony: Ceremony) -> None:
    payload = documents.head("stable", bytes(32), 5, (100, 200), 1)
    document = sign("head", payload, ceremony.key("head"))
    root = ceremony.root()
    assert explain.explain("head", document, root).ok
    late = explain.explain("head", document, root, explain.Context(now_s=300))
    assert late.ok and "EXPIRED" in late.checks[-1].found
    behind = explain.explain("head", document, root, explain.Context(seen=(0, 6)))
    assert behind.code == "head-rollback"
    order = sign("ops", documents.ops("dev-1", "c1", "wipe", 200), ceremony.key("ops"))
    assert explain.explain("ops", order, root, explain.Context(now_s=100)).ok
    assert explain.explain("ops", order, root, explain.Context(now_s=201)).code == "ops-expired"


# --- publishing


def test_publishing_is_idempotent_and_complete(ceremony: Ceremony, tmp_path: Path) -> None:
    import zlib

    files = tmp_path / "files"
    for name, data in CONTENT.items():
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        (files / name).write_bytes(data)
    payload = release_payload()
    document = sign("release", payload, ceremony.key("release"))
    head = sign("head", documents.head("stable", documents.digest(payload), 1, (0, 9), 1),
                ceremony.key("head"))  # fmt: skip
    plan = Plan.verified([ceremony.root()], (document, files), [head])
    target = tmp_path / "www"
    assert plan.apply(target)
    assert not plan.apply(target)
    found = sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())
    blobs = sorted(f"blobs/{trust.sha256(data).hex()}" for data in CONTENT.values())
    digest = documents.digest(payload).hex()
    assert found == [*blobs, "heads/stable.cose", f"releases/{digest}.cose", "roots/1.cose"]
    for data in CONTENT.values():
        blob = (target / "blobs" / trust.sha256(data).hex()).read_bytes()
        assert zlib.decompress(blob, 12) == data
    (files / "schema.cbor").write_bytes(b"changed")
    with pytest.raises(OutpostError) as error:
        Repository(tmp_path / "other").add_release(document, files)
    assert code_of(error) == "slot-hash"
    assert not (tmp_path / "other" / "releases").exists()


def test_nothing_unverified_is_published(ceremony: Ceremony, tmp_path: Path) -> None:
    forged = sign("release", release_payload(), ceremony.key("ops"))
    with pytest.raises(OutpostError) as error:
        Plan.verified([ceremony.root()], (forged, tmp_path), [])
    assert code_of(error) == "signer"


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 65])
def test_head_names_stay_inside_their_folder(
    ceremony: Ceremony, tmp_path: Path, name: str
) -> None:
    head = sign("head", documents.head("x", bytes(32), 1, (0, 9), 1), ceremony.key("head"))
    with pytest.raises(OutpostError):
        Repository(tmp_path).add_head(name, head)


def test_metadata_of_a_check_with_nothing_new_is_small(ceremony: Ceremony) -> None:
    head = sign("head", documents.head("stable", bytes(32), 2**31, (2**31, 2**31), 9),
                ceremony.key("head"))  # fmt: skip
    assert len(head) < 600
