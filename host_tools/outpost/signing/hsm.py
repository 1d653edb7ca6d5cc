"""Signing keys in a PKCS#11 token (HSM, smart card, SoftHSM2): the optional extra `[hsm]`.

The key never leaves the token. Which token comes from the environment, not from arguments:
OUTPOST_PKCS11_MODULE (the vendor's library), OUTPOST_PKCS11_PIN_FILE (the user PIN's file),
OUTPOST_PKCS11_TOKEN (the token's label, when there are several).
"""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import ExitCode, OutpostError
from .keys import EXPONENT, KEY_BYTES, key_id

MODULE_ENV = "OUTPOST_PKCS11_MODULE"
PIN_ENV = "OUTPOST_PKCS11_PIN_FILE"
TOKEN_ENV = "OUTPOST_PKCS11_TOKEN"


class TokenKey:
    """A key of a token, by its label; a `keys.Signer`."""

    def __init__(self, private: Any, modulus: bytes) -> None:
        self._private = private
        self._modulus = modulus

    def __repr__(self) -> str:
        return f"TokenKey({key_id(self._modulus).hex()})"

    @property
    def modulus(self) -> bytes:
        return self._modulus

    def sign(self, message: bytes) -> bytes:
        """A PS256 signature of `message`, made by the token."""
        from pkcs11 import MGF, Mechanism

        signature: bytes = self._private.sign(
            message,
            mechanism=Mechanism.SHA256_RSA_PKCS_PSS,
            mechanism_param=(Mechanism.SHA256, MGF.SHA256, 32),
        )
        return signature

    @classmethod
    def open(cls, label: str) -> "TokenKey":
        """The RSA-3072 key with this label, in the token that the environment names."""
        try:
            from pkcs11 import Attribute, ObjectClass
            from pkcs11.exceptions import PKCS11Error
        except ImportError as error:
            fix = "pip install 'outpost[hsm]'"
            raise OutpostError("hsm", "PKCS#11 is not installed", fix, ExitCode.USAGE) from error
        try:
            session = _session()
            private = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label)
            number = private[Attribute.MODULUS]
            exponent = int.from_bytes(
                session.get_key(object_class=ObjectClass.PUBLIC_KEY, label=label)[
                    Attribute.PUBLIC_EXPONENT
                ],
                "big",
            )
        except PKCS11Error as error:
            reason = type(error).__name__
            fix = f"check {MODULE_ENV}, {TOKEN_ENV} and {PIN_ENV}"
            raise OutpostError("hsm", f"token: {reason}", fix, ExitCode.NOT_AUTHORISED) from error
        if len(number) != KEY_BYTES or exponent != EXPONENT:
            message = f"{label} is not an RSA-3072 key with exponent 65537"
            raise OutpostError("key-kind", message, "make one in the token", ExitCode.USAGE)
        return cls(private, number)


def _session() -> Any:
    module, pin_file = os.environ.get(MODULE_ENV), os.environ.get(PIN_ENV)
    if not module or not pin_file:
        message = f"a token needs {MODULE_ENV} and {PIN_ENV}"
        raise OutpostError("hsm", message, "see docs/runbooks/key-ceremony.md", ExitCode.USAGE)
    try:
        pin = Path(pin_file).read_text().strip()
    except OSError as error:
        message = f"cannot read {pin_file}"
        raise OutpostError("hsm", message, f"check {PIN_ENV}", ExitCode.USAGE) from error
    return _logged_in(module, os.environ.get(TOKEN_ENV), pin)


@lru_cache
def _logged_in(module: str, label: str | None, pin: str) -> Any:
    """One session for all keys of a token: it refuses a second login of the same process."""
    import pkcs11

    library = pkcs11.lib(module)
    tokens = list(library.get_tokens(token_label=label) if label else library.get_tokens())
    tokens = [token for token in tokens if token.label.strip("\0 ")]
    if len(tokens) != 1:
        message = f"{len(tokens)} tokens fit"
        raise OutpostError("hsm", message, f"name one in {TOKEN_ENV}", ExitCode.DEVICE_NOT_FOUND)
    return tokens[0].open(user_pin=pin)
