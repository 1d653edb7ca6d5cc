"""RSA-3072 signing keys: made, kept encrypted (PKCS#8), identified by the start of SHA-256 of
their modulus.

Invariants: a private key is written once, mode 0600, encrypted unless the caller asks for plain in
so many words; it appears in no repr and no error. The public half is a small JSON file that may be
mailed around.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ..errors import ExitCode, OutpostError

KEY_BYTES = 384
EXPONENT = 65537
"""RSA-3072 with this exponent is all a device takes (loader.trust)."""

_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)


def key_id(modulus: bytes) -> bytes:
    """A key's id: the first 8 bytes of SHA-256 of the modulus, big-endian, without DER."""
    return hashlib.sha256(modulus).digest()[:8]


class Signer(Protocol):
    """Whatever can make a PS256 signature: a key in memory, or one in a PKCS#11 token."""

    @property
    def modulus(self) -> bytes: ...

    def sign(self, message: bytes) -> bytes: ...


@dataclass(frozen=True)
class PublicKey:
    """The half that goes into a trust root."""

    modulus: bytes

    @property
    def kid(self) -> bytes:
        return key_id(self.modulus)

    def verify(self, message: bytes, signature: bytes) -> None:
        """cryptography's own PSS; raises InvalidSignature."""
        numbers = rsa.RSAPublicNumbers(EXPONENT, int.from_bytes(self.modulus, "big"))
        numbers.public_key().verify(signature, message, _PSS, hashes.SHA256())

    def save(self, path: Path) -> None:
        """Write as JSON: {"alg": "PS256", "kid": hex, "n": hex}."""
        record = {"alg": "PS256", "kid": self.kid.hex(), "n": self.modulus.hex()}
        path.write_text(json.dumps(record, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "PublicKey":
        try:
            record = json.loads(path.read_text())
            key = cls(bytes.fromhex(record["n"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OutpostError(
                "key-file",
                f"{path} is not a public key file",
                "give a .pub.json file",
                ExitCode.USAGE,
            ) from error
        if len(key.modulus) != KEY_BYTES or record.get("kid") != key.kid.hex():
            raise OutpostError(
                "key-file",
                f"{path}: the key does not match its id",
                "get the file again",
                ExitCode.VERIFICATION_FAILED,
            )
        return key


class SigningKey:
    """A private key in memory."""

    def __init__(self, private: rsa.RSAPrivateKey) -> None:
        numbers = private.public_key().public_numbers()
        if private.key_size != 8 * KEY_BYTES or numbers.e != EXPONENT:
            raise OutpostError(
                "key-kind",
                "not an RSA-3072 key with exponent 65537",
                "use `outpost keys create`",
                ExitCode.USAGE,
            )
        self._private = private
        self.public = PublicKey(numbers.n.to_bytes(KEY_BYTES, "big"))

    def __repr__(self) -> str:
        return f"SigningKey({self.kid.hex()})"

    @property
    def kid(self) -> bytes:
        return self.public.kid

    @property
    def modulus(self) -> bytes:
        return self.public.modulus

    def sign(self, message: bytes) -> bytes:
        """A PS256 signature of `message`."""
        return self._private.sign(message, _PSS, hashes.SHA256())

    @classmethod
    def generate(cls) -> "SigningKey":
        return cls(rsa.generate_private_key(public_exponent=EXPONENT, key_size=8 * KEY_BYTES))

    def save(self, path: Path, passphrase: bytes | None, plain: bool = False) -> None:
        """Write `path` (never over an existing file) and the public half beside it (.pub.json)."""
        if not passphrase and not plain:
            raise OutpostError(
                "passphrase",
                "a private key needs a passphrase",
                "give one, or ask for plain",
                ExitCode.USAGE,
            )
        how: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase:
            how = serialization.BestAvailableEncryption(passphrase)
        pem = self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise OutpostError(
                "key-exists", f"{path} exists", "keys are never overwritten", ExitCode.ALREADY_DONE
            ) from None
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
        self.public.save(public_path(path))

    @classmethod
    def load(cls, path: Path, passphrase: bytes | None = None) -> "SigningKey":
        try:
            pem = path.read_bytes()
        except OSError as error:
            raise OutpostError(
                "key-file", f"cannot read {path}", "check the path", ExitCode.USAGE
            ) from error
        encrypted = is_encrypted(path)
        try:
            private = serialization.load_pem_private_key(pem, passphrase if encrypted else None)
        except (ValueError, TypeError):  # not chained: the cause may quote the input
            fix = "check the passphrase" if encrypted else "give a PKCS#8 PEM file"
            raise OutpostError("key-file", f"cannot open {path}", fix, ExitCode.USAGE) from None
        if not isinstance(private, rsa.RSAPrivateKey):
            raise OutpostError(
                "key-kind",
                f"{path} is not an RSA key",
                "use `outpost keys create`",
                ExitCode.USAGE,
            )
        return cls(private)


def public_path(path: Path) -> Path:
    """Where the public half of the key in `path` is: name.pem -> name.pub.json."""
    return path.with_name(path.name.removesuffix(".pem") + ".pub.json")


def is_encrypted(path: Path) -> bool:
    """Whether the key in `path` needs a passphrase."""
    try:
        return b"ENCRYPTED" in path.read_bytes().split(b"\n", 1)[0]
    except OSError:
        return False
