"""Signed heads: which release each device is to run, by the online head key.

Invariants: a name's sequence only rises, and a head is stored before anybody can fetch it, so no
crash can make two heads with one sequence.  Heads are renewed long before they expire; the key can
choose among published releases and forge none.
"""

from outpost.errors import ExitCode, OutpostError
from outpost.fleet.registry import Head, Registry
from outpost.fleet.registry.devices import valid_device_id
from outpost.signing import cose, documents
from outpost.signing.keys import Signer

VALIDITY_S = 30 * 86_400
RENEW_BEFORE_S = VALIDITY_S // 2


class Heads:
    """`root_version` is asked at each signing: devices fetch a newer root when they see one."""

    def __init__(self, registry: Registry, signer: Signer | None, root_version: int) -> None:
        self._registry = registry
        self._signer = signer
        self.root_version = root_version

    @property
    def can_sign(self) -> bool:
        return self._signer is not None

    def require_key(self) -> Signer:
        if self._signer is None:
            raise OutpostError(
                "no-head-key",
                "this fleet has no head key, so it cannot point devices at releases",
                "run `outpost fleet init` with --trust",
                ExitCode.USAGE,
            )
        return self._signer

    def point(self, name: str, release: str, now_ms: int) -> Head:
        """Make `name` name this release; the same one again gives a fresh head all the same."""
        signer = self.require_key()
        if not valid_device_id(name):
            raise OutpostError(
                "head-name",
                f"{name!r} cannot be the name of a head",
                "use a device or channel id",
                ExitCode.USAGE,
            )
        digest = bytes.fromhex(self._registry.releases.get(release).digest)
        with self._registry.transaction():
            known = self._registry.releases.head(name)
            sequence = known.sequence + 1 if known else 1
            issued_s = now_ms // 1000
            payload = documents.head(
                name, digest, sequence, (issued_s, issued_s + VALIDITY_S), self.root_version
            )
            head = Head(
                name,
                release,
                sequence,
                now_ms,
                now_ms + VALIDITY_S * 1000,
                cose.sign("head", payload, signer),
            )
            self._registry.releases.set_head(head)
        return head

    def renew(self, now_ms: int) -> int:
        """Sign heads again that are past half of their time; how many."""
        if self._signer is None:
            return 0
        old = [
            head
            for head in self._registry.releases.heads()
            if head.expires_ms - now_ms < RENEW_BEFORE_S * 1000
        ]
        for head in old:
            self.point(head.name, head.release, now_ms)
        return len(old)
