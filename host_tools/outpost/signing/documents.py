"""The payloads: root, release, head and ops, as deterministic CBOR by the device's own encoder and
tables.

Every builder decodes what it has built with the device's own parser before it returns: nothing
that a device would call malformed can be signed by mistake.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loader import cbor, layout, trust
from loader.cbor import VerifyError

from ..errors import ExitCode, OutpostError
from .keys import PublicKey


@dataclass(frozen=True)
class Role:
    """Who may sign: `threshold` of `keys`.

    A new `era` voids the sequences and epochs seen under the one before.
    """

    threshold: int
    keys: tuple[PublicKey, ...]
    era: int = 0


CARRIED_FIELDS = (
    "config bytes "  # SHA-256 of the configuration it was built from
    "sbom bytes "  # SHA-256 of its bill of materials
    "source str "  # revision of the source it was built from
)
"""Fields of a release that a device carries and does not read."""
HEALTH_FIELDS = (
    "deadline_s int "  # seconds of running within which the release must be found healthy
    "publishes int "  # acknowledged publishes before it is
    "heap_floor int "  # free bytes of heap it must leave
    "connected bool "  # whether it must have been connected
)
"""The health contract of a release, read by the application (node.core.health)."""


def _refused(kind: str, error: VerifyError) -> OutpostError:
    return OutpostError(
        error.code,
        f"a device would refuse this {kind}: {error.code} {error.detail}".rstrip(),
        "see the reason's entry in docs/reference/formats.md",
        ExitCode.USAGE,
    )


def root(version: int, roles: Mapping[str, Role]) -> bytes:
    """Payload of a trust root."""
    keys = {key.kid: key.modulus for role in roles.values() for key in role.keys}
    table = {
        name: [role.threshold, [key.kid for key in role.keys], role.era]
        for name, role in roles.items()
    }
    payload = cbor.encode({"version": version, "keys": keys, "roles": table})
    try:
        trust.parse_root(payload)
    except VerifyError as error:
        raise _refused("root", error) from error
    return payload


def root_roles(payload: bytes) -> tuple[int, dict[str, Role]]:
    """(version, roles) of a root's payload: what `root` was given."""
    parsed = trust.parse_root(payload)
    roles = {}
    for name in layout.ROLES:
        threshold, kids, era = parsed["roles"][name]
        roles[name] = Role(threshold, tuple(PublicKey(parsed["keys"][kid]) for kid in kids), era)
    return parsed["version"], roles


def release(fields: Mapping[str, Any], files: Iterable[tuple[str, int, bytes]]) -> bytes:
    """Payload of a release.

    `fields` are RELEASE_FIELDS (see loader.layout) but "files", CARRIED_FIELDS, and "runtime"
    where there is one.
    """
    payload = cbor.encode({**fields, "files": [list(entry) for entry in sorted(files)]})
    try:
        parsed = trust.parse_release(payload)
        cbor.check(parsed, CARRIED_FIELDS)
        cbor.check(parsed["health"], HEALTH_FIELDS)
    except VerifyError as error:
        raise _refused("release", error) from error
    return payload


def digest(payload: bytes) -> bytes:
    """A release's identity: SHA-256 of its payload, whoever has signed it."""
    return cbor.sha256(payload)


def head(
    name: str, release_digest: bytes, sequence: int, period: Sequence[int], root_version: int
) -> bytes:
    """Payload of a head: `name` (channel or device) is to run this release.

    `period` is (issued, expires), in Unix seconds.
    """
    issued, expires = period
    if len(release_digest) != 32 or sequence < 0 or expires < issued:
        raise OutpostError(
            "head",
            "a head needs a SHA-256, a sequence and a period",
            "check the arguments",
            ExitCode.USAGE,
        )
    return cbor.encode(
        {
            "name": name,
            "release": release_digest,
            "sequence": sequence,
            "issued": issued,
            "expires": expires,
            "root": root_version,
        }
    )


def ops(device: str, command_id: str, command: str, expires: int) -> bytes:
    """Payload of a signed command (wipe, decommission) for one device."""
    return cbor.encode(
        {"device": device, "id": command_id, "command": command, "expires": expires}
    )
