"""COSE_Sign documents (RFC 9052 section 4.1): made, signed by one person after another, taken
apart.

The bytes are the device's: headers, structure and limits come from loader.trust, so that what is
signed here is what is verified there. A file with no signature yet is the plain payload; the first
signature turns it into a document.
"""

import os
from pathlib import Path

from loader import cbor, layout, trust
from loader.cbor import VerifyError

from ..errors import ExitCode, OutpostError
from .keys import Signer, key_id


def to_be_signed(role: str, kid: bytes, payload: bytes) -> bytes:
    """The Sig_structure (RFC 9052 section 4.4) of one signer, with no external data."""
    return cbor.encode(
        ["Signature", trust.body_header(role), trust.signer_header(kid), b"", payload]
    )


def assemble(role: str, payload: bytes, signatures: list[tuple[bytes, bytes]]) -> bytes:
    """The document with these (kid, signature) pairs."""
    entries = [[trust.signer_header(kid), {}, signature] for kid, signature in signatures]
    return b"\xd8\x62" + cbor.encode([trust.body_header(role), {}, payload, entries])


def signatures_of(role: str, document: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """(payload, [(kid, signature)]) of a document; nothing is verified."""
    payload, entries = trust.unwrap(role, document)
    pairs = []
    for header, _, signature in entries:
        protected = cbor.decode(header)
        kid = protected.get(4) if isinstance(protected, dict) else None
        if not isinstance(kid, bytes):
            raise VerifyError("cose-shape")
        pairs.append((kid, bytes(signature)))
    return bytes(payload), pairs


def role_of(data: bytes) -> str | None:
    """The role a document says it is for; None for a payload, or anything else."""
    for role in layout.ROLES:
        try:
            trust.unwrap(role, data)
        except VerifyError:
            continue
        return role
    return None


def sign(role: str, data: bytes, *signers: Signer) -> bytes:
    """`data` (a payload, or a document that others have signed) with a signature by each signer.

    One who has signed already is not added twice; what a device could not take apart is refused.
    """
    payload, pairs = (data, []) if role_of(data) is None else signatures_of(role, data)
    for signer in signers:
        kid = key_id(signer.modulus)
        if kid not in [other for other, _ in pairs]:
            pairs.append((kid, signer.sign(to_be_signed(role, kid, payload))))
    document = assemble(role, payload, pairs)
    try:
        trust.unwrap(role, document)
    except VerifyError as error:
        sizes = f"{len(document)} bytes and {len(pairs)} signatures"
        message = f"a device would refuse a document of {sizes}: {error.code}"
        raise OutpostError(error.code, message, "make it smaller", ExitCode.USAGE) from error
    return document


def sign_file(role: str, source: Path, target: Path, *signers: Signer) -> bytes:
    """Sign the file `source` into `target` (which may be the same), replaced as a whole."""
    document = sign(role, source.read_bytes(), *signers)
    replace(target, document)
    return document


def replace(target: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old bytes or the new ones."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    partial.write_bytes(data)
    os.replace(partial, target)
