"""The device's requests and keys, read by other people's X.509 code."""

import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from node.core import csr, p256

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SCALARS = st.one_of(
    st.integers(1, ORDER - 1), st.integers(1, 300), st.integers(ORDER - 300, ORDER - 1)
)


@settings(max_examples=40, deadline=None)
@given(SCALARS)
def test_public_points(scalar: int) -> None:
    key = ec.derive_private_key(scalar, ec.SECP256R1())
    raw = key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    assert p256.public_key(scalar.to_bytes(32, "big")) == raw


@settings(max_examples=40, deadline=None)
@given(SCALARS, st.binary(max_size=200))
def test_signatures(scalar: int, message: bytes) -> None:
    key = ec.derive_private_key(scalar, ec.SECP256R1())
    r, s = p256.sign(scalar.to_bytes(32, "big"), hashlib.sha256(message).digest())
    key.public_key().verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("name", ["w", "weather-2647-000001-x", "x" * 63])
def test_requests(name: str) -> None:
    private = hashlib.sha256(name.encode()).digest()
    request = x509.load_der_x509_csr(csr.request(csr.key_der(private), name))
    assert request.is_signature_valid
    (attribute,) = list(request.subject)
    assert (attribute.oid, attribute.value) == (NameOID.COMMON_NAME, name)
    key = request.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"


def test_key_files() -> None:
    private = hashlib.sha256(b"key").digest()
    key = serialization.load_der_private_key(csr.key_der(private), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.private_numbers().private_value == int.from_bytes(private, "big")
