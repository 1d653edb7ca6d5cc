"""The certificate authority: what it issues, what it refuses, and how its key lies on disk."""

import contextlib
import ssl
import stat

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from outpost.errors import OutpostError
from outpost.fleet import pki
from outpost.fleet.pki import Ca

from tests.fleet_kit import make_csr


@pytest.fixture
def ca(tmp_path):
    return Ca.create(tmp_path / "ca")


def key():
    return ec.generate_private_key(ec.SECP256R1())


def test_device_certificate_carries_the_id_we_chose_not_the_csr(ca):
    device_key = key()
    cert = x509.load_der_x509_certificate(ca.issue(make_csr(device_key, "admin"), "w-1"))
    assert cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "w-1"
    assert cert.public_key() == device_key.public_key()
    assert list(cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    # no basic constraints: no CA; and nothing else that would be sent at every wake for nothing
    assert len(cert.extensions) == 1
    assert len(ca.issue(make_csr(device_key), "w-1")) < 310
    assert cert.not_valid_before_utc.year == 2000
    cert.verify_directly_issued_by(x509.load_der_x509_certificate(ca.ca_der))


def handshake(tmp_path, authority, server, client):
    """TLS between two (key, [certificates]) in memory, both verified; raises what one says."""
    contexts = []
    for number, (side_key, chain) in enumerate((server, client)):
        file = tmp_path / f"side{number}.pem"
        pem = side_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        file.write_bytes(pem + b"".join(pki.pem(der, "CERTIFICATE") for der in chain))
        kind = ssl.PROTOCOL_TLS_CLIENT if number else ssl.PROTOCOL_TLS_SERVER
        context = ssl.SSLContext(kind)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=authority.ca_der)
        context.load_cert_chain(file)
        contexts.append(context)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        contexts[0].wrap_bio(up, down, server_side=True),
        contexts[1].wrap_bio(down, up, server_hostname="localhost"),
    ]
    for _ in range(4):
        for end in reversed(ends):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return ends[0].getpeercert(True)


def test_a_device_passes_for_no_broker_and_for_no_authority(ca, tmp_path):
    """Though its certificate says only what it is for: the short form must not be the weak one."""
    device_key, other = key(), key()
    own = ca.issue(make_csr(device_key), "localhost")
    credentials = ca.issue_server(["localhost"])
    server = (
        serialization.load_der_private_key(credentials.key_der, None),
        [credentials.cert_der],
    )
    assert handshake(tmp_path, ca, server, (device_key, [own])) == own
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        handshake(tmp_path, ca, (device_key, [own]), (device_key, [own]))
    issuer = x509.load_der_x509_certificate(own)
    evil = pki._client(issuer, "w-9", other.public_key()).sign(device_key, hashes.SHA256())
    chain = [evil.public_bytes(serialization.Encoding.DER), own]
    with pytest.raises(ssl.SSLError, match="certificate"):
        handshake(tmp_path, ca, server, (other, chain))


def test_broker_certificate_is_for_addresses_and_names(ca):
    server = ca.issue_server(["127.0.0.1", "localhost", "fleet.example"])
    cert = x509.load_der_x509_certificate(server.cert_der)
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "fleet.example"]
    store = Store([x509.load_der_x509_certificate(ca.ca_der)])
    PolicyBuilder().store(store).build_server_verifier(x509.DNSName("localhost")).verify(cert, [])
    with pytest.raises(VerificationError):
        PolicyBuilder().store(store).build_server_verifier(x509.DNSName("evil")).verify(cert, [])


def test_service_names_cannot_be_device_ids(ca):
    cert = x509.load_der_x509_certificate(ca.issue_service("ingest").cert_der)
    assert cert.subject.rfc4514_string() == "CN=_ingest"
    with pytest.raises(OutpostError):
        ca.issue(make_csr(key()), "_ingest")


def test_csr_without_proof_of_possession_is_refused(ca):
    raw = bytearray(make_csr(key()))
    raw[-1] ^= 1
    for bad in (bytes(raw), b"", b"\x30\x03\x02\x01\x00"):
        with pytest.raises(OutpostError) as caught:
            ca.issue(bad, "w-1")
        assert (caught.value.code, caught.value.exit_code) == ("csr", 5)


def test_no_flipped_byte_of_a_csr_gets_a_certificate_for_another_key(ca):
    device_key = key()
    raw = make_csr(device_key)
    refused = 0
    for index in range(len(raw)):
        changed = bytearray(raw)
        changed[index] ^= 0x01
        try:
            cert = x509.load_der_x509_certificate(ca.issue(bytes(changed), "w-1"))
        except OutpostError:
            refused += 1
        else:  # the count of unused bits of the signature carries nothing
            assert cert.public_key() == device_key.public_key()
    assert refused >= len(raw) - 1


def test_other_kinds_of_key_are_refused(ca):
    for other in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())):
        with pytest.raises(OutpostError) as caught:
            ca.issue(make_csr(other), "w-1")
        assert caught.value.code == "csr-key"


@pytest.mark.parametrize("name", ["", "a/b", "+", "A", "a" * 64])
def test_bad_ids_get_no_certificate(ca, name):
    with pytest.raises(OutpostError) as caught:
        ca.issue(make_csr(key()), name)
    assert caught.value.code == "device-id"


def test_revoked_certificates_stay_revoked_after_opening(ca, tmp_path):
    first, second = (ca.issue(make_csr(key()), "w-1") for _ in range(2))
    ca.revoke(pki.cert_serial(first))
    again = Ca.open(tmp_path / "ca")
    again.revoke(pki.cert_serial(first))
    crl = x509.load_pem_x509_crl(again.crl_path.read_bytes())
    listed = {entry.serial_number for entry in crl}
    assert listed == {int(pki.cert_serial(first), 16)}
    assert crl.is_signature_valid(x509.load_der_x509_certificate(again.ca_der).public_key())
    assert second


def test_key_is_private_and_never_shown(ca, tmp_path):
    path = tmp_path / "ca" / "ca.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert repr(ca) == f"Ca({tmp_path / 'ca'})"
    path.chmod(0o640)
    with pytest.raises(OutpostError) as caught:
        Ca.open(tmp_path / "ca")
    assert caught.value.code == "secret-open"


def test_key_can_be_sealed_with_a_passphrase(tmp_path, monkeypatch):
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    monkeypatch.setenv(pki.PASSPHRASE_ENV, str(secret))
    Ca.create(tmp_path / "ca")
    assert Ca.open(tmp_path / "ca").ca_der
    with pytest.raises(TypeError):
        serialization.load_der_private_key((tmp_path / "ca" / "ca.key").read_bytes(), None)
    monkeypatch.delenv(pki.PASSPHRASE_ENV)
    with pytest.raises(OutpostError) as caught:
        Ca.open(tmp_path / "ca")
    assert caught.value.code == "ca-key"


def test_a_second_ca_never_replaces_the_first(ca, tmp_path):
    with pytest.raises(OutpostError) as caught:
        Ca.create(tmp_path / "ca")
    assert caught.value.code == "ca-exists"
    with pytest.raises(OutpostError) as caught:
        Ca.open(tmp_path / "nothing")
    assert caught.value.code == "no-ca"


def test_spki_hash_is_of_the_key_not_of_the_certificate(ca):
    device_key = key()
    one, two = (ca.issue(make_csr(device_key), name) for name in ("w-1", "w-2"))
    assert pki.spki_sha256(one) == pki.spki_sha256(two)
    assert pki.cert_serial(one) != pki.cert_serial(two)
