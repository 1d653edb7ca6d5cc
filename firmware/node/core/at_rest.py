"""Records sealed on flash: AES-256-CBC under an HMAC-SHA256, with keys of this device alone.

Form: tag (16 bytes) and ciphertext. The tag is the truncated HMAC of the plaintext and is the IV
as well, so there is no nonce to keep and no randomness to want (the construction of RFC 5297,
SIV, with CBC in the place of CTR; equal records would look equal, and no two records are: they
carry their sequence number). What fails the check is not a record of this device and is not sent.

What it protects against, plainly: whoever reads `/data` alone (a copied data folder, a dump in a
bug report) sees no readings; and once `/outpost/secret.bin` is overwritten, what littlefs left in
freed blocks is unreadable for good, which is what a wipe wants. Who reads the whole flash of a
chip without flash encryption has the secret too, and with it the records; so has code on the
device.
"""

import hashlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Buffer = bytes | bytearray | memoryview

_TAG = 16
_BLOCK = 16
_CBC = 2  # cryptolib's number of the mode


def hmac(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256 (RFC 2104) for keys of up to 64 bytes."""
    for pad in (0x36, 0x5C):
        block = bytes([byte ^ pad for byte in key + bytes(64 - len(key))])
        message = hashlib.sha256(block + message).digest()
    return message


class Seal:
    """`secret` is the device's (32 bytes), `aes` is `cryptolib.aes`."""

    def __init__(self, secret: bytes, aes: "Callable[..., Any]") -> None:
        self._aes = aes
        self._key = hmac(secret, b"outbox records: key")
        self._mac_key = hmac(secret, b"outbox records: tag")

    def seal(self, payload: "Buffer") -> bytes:
        """The sealed form: 17 to 32 bytes longer."""
        plain = bytes(payload)
        tag = hmac(self._mac_key, plain)[:_TAG]
        pad = _BLOCK - len(plain) % _BLOCK  # PKCS #7: 1 to 16 bytes, each the number of them
        padded = plain + bytes([pad]) * pad
        sealed: bytes = self._aes(self._key, _CBC, tag).encrypt(padded)
        return tag + sealed

    def open(self, data: "Buffer") -> "bytes | None":
        """The record, or None: damaged, or sealed by another device."""
        size = len(data) - _TAG
        if size < _BLOCK or size % _BLOCK:
            return None
        tag = bytes(data[:_TAG])
        padded: bytes = self._aes(self._key, _CBC, tag).decrypt(bytes(data[_TAG:]))
        pad = padded[-1]
        if not 0 < pad <= _BLOCK:
            return None
        plain = padded[: size - pad]
        if hmac(self._mac_key, plain)[:_TAG] != tag or padded != plain + bytes([pad]) * pad:
            return None
        return plain
