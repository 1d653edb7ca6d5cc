"""Making and changing a trust root: create, rotate, revoke.

A ceremony's folder holds `roots/<n>.cose` (every root there ever was; devices walk through them
one by one), the keys in `keys/<name>.pem`, and `keys/<name>.pub.json`. In a real ceremony the root
keys are on other people's machines: a new root is proposed here (a payload), signed there, and
only the finished document comes back.
"""

from collections.abc import Sequence
from pathlib import Path

from loader import layout, trust
from loader.cbor import VerifyError

from ..errors import ExitCode, OutpostError
from . import cose, documents
from .documents import Role
from .keys import PublicKey, Signer, SigningKey


class Ceremony:
    """The trust roots and keys in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    @classmethod
    def create(
        cls,
        folder: Path,
        threshold: int = 2,
        root_keys: int = 3,
        passphrase: bytes | None = None,
        plain: bool = False,
    ) -> "Ceremony":
        """New keys root-1..n, release, head and ops, and root 1 signed by enough of the first."""
        ceremony = cls(folder)
        if ceremony.root_path(1).exists():
            raise OutpostError(
                "root-exists",
                f"{folder} already holds a trust root",
                "choose another folder",
                ExitCode.ALREADY_DONE,
            )
        names = [f"root-{number}" for number in range(1, root_keys + 1)]
        made = {name: SigningKey.generate() for name in [*names, "release", "head", "ops"]}
        for name, key in made.items():
            key.save(ceremony.key_path(name), passphrase, plain)
        roles = {name: Role(1, (made[name].public,)) for name in ("release", "head", "ops")}
        roles["root"] = Role(threshold, tuple(made[name].public for name in names))
        ceremony.propose(1, roles)
        ceremony.sign_root(1, *[made[name] for name in names[:threshold]])
        return ceremony

    def key_path(self, name: str) -> Path:
        return self.folder / "keys" / f"{name}.pem"

    def root_path(self, version: int) -> Path:
        return self.folder / "roots" / f"{version}.cose"

    def key(self, name: str, passphrase: bytes | None = None) -> SigningKey:
        return SigningKey.load(self.key_path(name), passphrase)

    def public(self, name: str) -> PublicKey:
        return PublicKey.load(self.folder / "keys" / f"{name}.pub.json")

    def version(self) -> int:
        """The newest root that is finished, that is, accepted by the chain from root 1."""
        version = 0
        while self.root_path(version + 1).exists():
            try:
                self._accept(version + 1)
            except VerifyError:
                break
            version += 1
        if not version:
            raise OutpostError(
                "no-root",
                f"{self.folder} holds no trust root",
                "make one with `outpost keys create`",
                ExitCode.USAGE,
            )
        return version

    def root(self, version: int | None = None) -> bytes:
        """The document of a root, the newest finished one by default."""
        return self.root_path(version or self.version()).read_bytes()

    def roles(self) -> dict[str, Role]:
        payload, _ = trust.unwrap("root", self.root())
        return documents.root_roles(bytes(payload))[1]

    def _accept(self, version: int) -> None:
        document = self.root_path(version).read_bytes()
        if version == 1:
            trust.verify(trust.stored_root(document), "root", document)
        else:
            trust.next_root(trust.stored_root(self.root_path(version - 1).read_bytes()), document)

    # --- changing it: propose, sign (anywhere, in any order), done when `version` counts it

    def propose(self, version: int, roles: dict[str, Role]) -> bytes:
        """Write the payload of a root to be signed, as roots/<n>.cbor."""
        payload = documents.root(version, roles)
        cose.replace(self.root_path(version).with_suffix(".cbor"), payload)
        return payload

    def sign_root(self, version: int, *signers: Signer) -> bool:
        """Add signatures to a proposed root; True once a device would accept it."""
        path = self.root_path(version)
        source = path if path.exists() else path.with_suffix(".cbor")
        if not source.exists():
            raise OutpostError(
                "no-proposal",
                f"no root {version} waits for a signature",
                "propose one with `outpost keys rotate` or `revoke`",
                ExitCode.ALREADY_DONE,
            )
        cose.sign_file("root", source, path, *signers)
        try:
            self._accept(version)
        except VerifyError:
            return False
        return True

    def propose_next(self, roles: dict[str, Role]) -> int:
        """Propose the root after the one in force; its version."""
        version = self.version() + 1
        if self.root_path(version).exists():
            raise OutpostError(
                "root-pending",
                f"root {version} is already being signed",
                "finish it, or remove the file",
                ExitCode.REFUSED,
            )
        self.propose(version, roles)
        return version

    def rotated(
        self, role: str, new: Sequence[PublicKey], threshold: int | None, new_era: bool
    ) -> dict[str, Role]:
        """The roles of the root in force with these keys for `role`.

        `new_era` when a key was stolen: what the thief signed no longer counts as seen, so that a
        sequence or epoch driven to the end of its range does not lock the devices.
        """
        roles = self.roles()
        old = roles[role]
        era = old.era + 1 if new_era else old.era
        roles[role] = Role(threshold or old.threshold, tuple(new), era)
        return roles

    def revoked(self, kid: bytes, new_era: bool = True) -> dict[str, Role]:
        """The roles of the root in force without this key, in whichever of them it is."""
        roles = self.roles()
        holders = [name for name in layout.ROLES if kid in [key.kid for key in roles[name].keys]]
        if not holders:
            raise OutpostError(
                "key-unknown",
                f"no role has the key {kid.hex()}",
                "see `outpost keys show`",
                ExitCode.USAGE,
            )
        for name in holders:
            role = roles[name]
            left = tuple(key for key in role.keys if key.kid != kid)
            if len(left) < role.threshold:
                raise OutpostError(
                    "root-roles",
                    f"without it {name} has {len(left)} keys for a threshold of {role.threshold}",
                    "rotate in a new key instead",
                    ExitCode.REFUSED,
                )
            roles[name] = Role(role.threshold, left, role.era + new_era)
        return roles

    def rotate(
        self,
        role: str,
        new: Sequence[PublicKey],
        threshold: int | None = None,
        new_era: bool = False,
    ) -> int:
        """Propose the next root with these keys for `role` (see `rotated`); its version."""
        return self.propose_next(self.rotated(role, new, threshold, new_era))

    def revoke(self, kid: bytes, new_era: bool = True) -> int:
        """Propose the next root without this key; its version."""
        return self.propose_next(self.revoked(kid, new_era))
