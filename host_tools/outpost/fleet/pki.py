"""The fleet's private certificate authority: P-256 (RFC 5480), one level, for TLS identities only.

Invariants: a device certificate's CN is its device id and nothing from the CSR but the public key
is believed; the CSR's signature proves possession of the private key (RFC 2986 section 4.2).
Certificates start on 2000-01-01, so that a board with a cold clock still connects and learns the
time afterwards.  Revocation is a CRL (RFC 5280 section 5) that the broker reads.

Files in the folder: `ca.der`, `ca.key` (0600; PKCS#8, encrypted when a passphrase is given by
`OUTPOST_CA_PASSPHRASE_FILE`), `crl.pem`, `revoked.json`.
"""

import datetime
import hashlib
import ipaddress
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from outpost.errors import ExitCode, OutpostError
from outpost.fleet.files import read_private, write_private, write_whole
from outpost.fleet.registry.devices import valid_device_id

NOT_BEFORE = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
NOT_AFTER = datetime.datetime(2099, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
PASSPHRASE_ENV = "OUTPOST_CA_PASSPHRASE_FILE"
# A service's CN starts with a character no device id can start with.
SERVICE_PREFIX = "_"

# All that a parser of foreign bytes may come up with.
_CSR_ERRORS = (ValueError, TypeError, x509.InvalidVersion, InvalidSignature, UnsupportedAlgorithm)

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Credentials:
    """A certificate with its private key, both DER."""

    cert_der: bytes
    key_der: bytes


class Ca:
    """Issues and revokes; `create` once, `open` ever after."""

    def __init__(self, folder: Path, cert: x509.Certificate, key: Key) -> None:
        self._folder = folder
        self._cert = cert
        self._key = key

    def __repr__(self) -> str:
        return f"Ca({self._folder})"

    @classmethod
    def create(cls, folder: Path, name: str = "Outpost") -> "Ca":
        if (folder / "ca.key").exists():
            raise OutpostError(
                "ca-exists",
                f"{folder} already holds a CA",
                "open it, or choose an empty folder",
                ExitCode.ALREADY_DONE,
            )
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = ec.generate_private_key(ec.SECP256R1())
        cert = _ca_certificate(key, name)
        write_private(
            folder / "ca.key",
            key.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, _encryption()
            ),
        )
        write_whole(folder / "ca.der", cert.public_bytes(serialization.Encoding.DER))
        write_whole(folder / "revoked.json", b"{}")
        ca = cls(folder, cert, key)
        ca._write_crl({})
        return ca

    @classmethod
    def open(cls, folder: Path) -> "Ca":
        try:
            cert = x509.load_der_x509_certificate((folder / "ca.der").read_bytes())
            key = serialization.load_der_private_key(
                read_private(folder / "ca.key"), _passphrase()
            )
        except FileNotFoundError:
            raise OutpostError(
                "no-ca", f"{folder} holds no CA", "run `outpost fleet init`", ExitCode.USAGE
            ) from None
        except (ValueError, TypeError) as error:
            raise OutpostError(
                "ca-key",
                f"the CA key in {folder} cannot be read: {error}",
                f"name the passphrase file in {PASSPHRASE_ENV}",
                ExitCode.USAGE,
            ) from None
        assert isinstance(key, Key)
        return cls(folder, cert, key)

    @property
    def ca_der(self) -> bytes:
        return self._cert.public_bytes(serialization.Encoding.DER)

    @property
    def ca_pem(self) -> bytes:
        return self._cert.public_bytes(serialization.Encoding.PEM)

    @property
    def crl_path(self) -> Path:
        return self._folder / "crl.pem"

    def issue(self, csr_der: bytes, device_id: str, days: int = 0) -> bytes:
        """The device's certificate (DER) for the key of its CSR; `days` 0: without an end."""
        if not valid_device_id(device_id):
            raise OutpostError(
                "device-id",
                f"{device_id!r} is not a device id",
                "use a-z, 0-9 and '-', 63 characters at most",
                ExitCode.USAGE,
            )
        end = _now() + datetime.timedelta(days=days) if days else NOT_AFTER
        return self._sign(_client(self._cert, device_id, _proven_key(csr_der), end))

    def issue_service(self, name: str) -> Credentials:
        """A client certificate for a part of the fleet itself, such as ingest."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _client(self._cert, SERVICE_PREFIX + name, key.public_key())
        return Credentials(self._sign(builder), _key_der(key))

    def issue_server(self, names: Sequence[str]) -> Credentials:
        """The broker's certificate for these host names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _server(self._cert, names[0], key.public_key()).add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
        )
        return Credentials(self._sign(builder), _key_der(key))

    def revoke(self, cert_serial: str, reason: str = "unspecified") -> None:
        """Takes effect when the broker reads the CRL again (`Broker.reload`)."""
        revoked = self.revoked()
        revoked.setdefault(cert_serial, {"reason": reason, "at": _now().isoformat()})
        write_whole(self._folder / "revoked.json", json.dumps(revoked, indent=1).encode())
        self._write_crl(revoked)

    def revoked(self) -> dict[str, dict[str, str]]:
        result: dict[str, dict[str, str]] = json.loads((self._folder / "revoked.json").read_text())
        return result

    def refresh_crl(self) -> None:
        self._write_crl(self.revoked())

    def _sign(self, builder: x509.CertificateBuilder) -> bytes:
        cert = builder.sign(self._key, hashes.SHA256())
        return cert.public_bytes(serialization.Encoding.DER)

    def _write_crl(self, revoked: dict[str, dict[str, str]]) -> None:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._cert.subject)
            .last_update(NOT_BEFORE)
            .next_update(NOT_AFTER)
        )
        for serial, entry in revoked.items():
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(int(serial, 16))
                .revocation_date(datetime.datetime.fromisoformat(entry["at"]))
                .build()
            )
        crl = builder.sign(self._key, hashes.SHA256())
        write_whole(self.crl_path, crl.public_bytes(serialization.Encoding.PEM))


def cert_serial(cert_der: bytes) -> str:
    return f"{x509.load_der_x509_certificate(cert_der).serial_number:x}"


def not_after_ms(cert_der: bytes) -> int:
    end = x509.load_der_x509_certificate(cert_der).not_valid_after_utc
    return int(end.timestamp() * 1000)


def spki_sha256(cert_der: bytes) -> str:
    """Identifies the key pair, whatever certificate it is in."""
    key = x509.load_der_x509_certificate(cert_der).public_key()
    return hashlib.sha256(
        key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    ).hexdigest()


def pem(der: bytes, label: str) -> bytes:
    """DER in a PEM envelope (RFC 7468); label is CERTIFICATE or PRIVATE KEY."""
    import ssl

    text = ssl.DER_cert_to_PEM_cert(der)
    return text.replace("CERTIFICATE", label).encode()


def _proven_key(csr_der: bytes) -> ec.EllipticCurvePublicKey:
    try:
        csr = x509.load_der_x509_csr(csr_der)
        key = csr.public_key()
        if not csr.is_signature_valid:
            raise InvalidSignature
    except _CSR_ERRORS as error:
        raise OutpostError(
            "csr",
            f"the CSR cannot be used: {error or 'bad signature'}",
            "make a new key and CSR on the device",
            ExitCode.VERIFICATION_FAILED,
        ) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise OutpostError(
            "csr-key",
            "the CSR's key is not P-256",
            "make a P-256 key",
            ExitCode.VERIFICATION_FAILED,
        )
    return key


def _leaf(
    ca: x509.Certificate,
    common_name: str,
    key: ec.EllipticCurvePublicKey,
    usage: x509.ObjectIdentifier,
    end: datetime.datetime = NOT_AFTER,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(ca.subject)
        .subject_name(_name(common_name))
        .public_key(key)
        .serial_number(x509.random_serial_number() >> 96)  # 63 bits: unique is all it has to be
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(end)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    )


def _client(
    ca: x509.Certificate,
    common_name: str,
    key: ec.EllipticCurvePublicKey,
    end: datetime.datetime = NOT_AFTER,
) -> x509.CertificateBuilder:
    """Sent at every wake, so it says nothing that its absence does not say as well: without basic
    constraints it is no CA (RFC 5280 section 4.2.1.9). The usage stays: it is what keeps a device
    from passing itself off as the broker.
    """
    return _leaf(ca, common_name, key, ExtendedKeyUsageOID.CLIENT_AUTH, end)


def _server(
    ca: x509.Certificate, common_name: str, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    return (
        _leaf(ca, common_name, key, ExtendedKeyUsageOID.SERVER_AUTH)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(_ec_key(ca)), critical=False
        )
    )


def _ca_certificate(key: Key, name: str) -> x509.Certificate:
    subject = _name(name)
    return (
        x509.CertificateBuilder()
        .issuer_name(subject)
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _ec_key(cert: x509.Certificate) -> ec.EllipticCurvePublicKey:
    key = cert.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def _key_usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_der(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _passphrase() -> bytes | None:
    path = os.environ.get(PASSPHRASE_ENV)
    return read_private(Path(path)).rstrip(b"\r\n") if path else None


def _encryption() -> serialization.KeySerializationEncryption:
    passphrase = _passphrase()
    if passphrase:
        return serialization.BestAvailableEncryption(passphrase)
    return serialization.NoEncryption()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)
