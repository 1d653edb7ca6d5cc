"""What a device shows a certificate authority: a PKCS#10 request, and its key as PKCS#8, both DER.

Owns just enough DER to write those two and to check a certificate that comes back. Names one
attribute, the common name, which is the device id. DER and never PEM: the RP2040's TLS refuses PEM
(ValueError "invalid cert").
"""

import hashlib

from node.core import p256

_INTEGER_0 = b"\x02\x01\x00"
# SEQUENCE { ecPublicKey 1.2.840.10045.2.1, prime256v1 1.2.840.10045.3.1.7 } (RFC 5480 section
# 2.1.1)
_EC_P256 = b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"
# SEQUENCE { ecdsa-with-SHA256 1.2.840.10045.4.3.2 } (RFC 5758 section 3.2)
_ECDSA_SHA256 = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"
_OID_COMMON_NAME = b"\x06\x03\x55\x04\x03"
# ECPrivateKey ::= SEQUENCE { 1, OCTET STRING (32), [1] BIT STRING (66) } (RFC 5915), 109 bytes of
# content
_SEC1_HEAD = b"\x30\x6b\x02\x01\x01\x04\x20"
_SEC1_PUBLIC = b"\xa1\x44\x03\x42\x00"


def der(tag: int, content: bytes) -> bytes:
    """One DER element of at most 65,535 bytes of content."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    if size < 0x100:
        return bytes((tag, 0x81, size)) + content
    return bytes((tag, 0x82, size >> 8, size & 0xFF)) + content


def _integer(value: int) -> bytes:
    """A non-negative INTEGER of up to 256 bits: shortest form, a zero byte in front of a set top
    bit.
    """
    raw = value.to_bytes(33, "big").lstrip(b"\x00")
    if not raw or raw[0] & 0x80:
        raw = b"\x00" + raw
    return der(0x02, raw)


def _public_info(public: bytes) -> bytes:
    return der(0x30, _EC_P256 + der(0x03, b"\x00" + public))


def request(key: bytes, common_name: str) -> bytes:
    """PKCS#10 (RFC 2986) for `common_name`, signed with the key of a key file: proof that the
    sender holds it.
    """
    name = der(0x30, der(0x31, der(0x30, _OID_COMMON_NAME + der(0x0C, common_name.encode()))))
    info = der(0x30, _INTEGER_0 + name + _public_info(public_of(key)) + b"\xa0\x00")
    r, s = p256.sign(private_of(key), hashlib.sha256(info).digest())
    signature = der(0x30, _integer(r) + _integer(s))
    return der(0x30, info + _ECDSA_SHA256 + der(0x03, b"\x00" + signature))


def key_der(private: bytes) -> bytes:
    """`private` as PKCS#8 (RFC 5208) around RFC 5915, the form every TLS library takes."""
    sec1 = _SEC1_HEAD + private + _SEC1_PUBLIC + p256.public_key(private)
    return der(0x30, _INTEGER_0 + _EC_P256 + der(0x04, sec1))


def private_of(key: bytes) -> bytes:
    """The scalar in a key file written by `key_der`; ValueError when it is anything else."""
    at = key.find(_SEC1_HEAD)
    if at < 0 or len(key) != at + len(_SEC1_HEAD) + 32 + len(_SEC1_PUBLIC) + 65:
        raise ValueError("key")
    at += len(_SEC1_HEAD)
    return key[at : at + 32]


def public_of(key: bytes) -> bytes:
    """The public point in a key file written by `key_der`."""
    private_of(key)
    return key[-65:]


def certifies(certificate: bytes, key: bytes) -> bool:
    """True when `certificate` carries the public key of `key`.

    TLS accepts a pair that does not match and fails only in the handshake, indistinguishable from
    a dropped link (measured), so the pair is compared when it is stored.
    """
    return _public_info(public_of(key)) in certificate
