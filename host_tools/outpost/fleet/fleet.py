"""A fleet's folder: registry, CA, trust root, update repository.  Works with no server running.

    registry.db   ca/   broker/   keys/head.pem   token
    update/roots/<n>.cose   update/releases/<digest>.cose   update/blobs/<sha256>
    fleet.json    running.json (while a server runs: its address)

A factory station, the command line and a running server may use one folder at the same time.
"""

import hashlib
import json
import os
import secrets
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from loader import trust
from loader.cbor import VerifyError
from node.core import record

from outpost.errors import ExitCode, OutpostError
from outpost.fleet import pki
from outpost.fleet.files import read_private, write_private, write_whole
from outpost.fleet.heads import Heads
from outpost.fleet.payload import jsonable
from outpost.fleet.pki import Ca
from outpost.fleet.registry import Certificate, Device, Identity, Registry, Release
from outpost.signing.keys import SigningKey
from outpost.signing.repository import Repository

SCHEMA_FILE = "schema.cbor"
HEAD_PASSPHRASE_ENV = "OUTPOST_HEAD_PASSPHRASE_FILE"


@dataclass(frozen=True)
class FleetConfig:
    """Where a server listens; port 0 takes a free one at each start."""

    host: str = "127.0.0.1"
    http_port: int = 0
    broker_port: int = 0
    names: tuple[str, ...] = ()
    keep_days: int = 400  # of telemetry
    certificate_days: int = 0  # for how long a device's certificate is good; 0: for ever

    @property
    def server_names(self) -> tuple[str, ...]:
        """What the broker's certificate is for, and which Host headers HTTP answers to."""
        extra = () if self.host in ("0.0.0.0", "127.0.0.1") else (self.host,)
        return ("127.0.0.1", "localhost", *extra, *self.names)


class Fleet:
    """`create` once, `open` ever after; `close` when done."""

    def __init__(self, folder: Path, config: FleetConfig) -> None:
        self.folder = folder
        self.config = config
        self.registry = Registry.open(folder / "registry.db")
        self.ca = Ca.open(folder / "ca")
        self.repository = Repository(folder / "update")
        self.root_version = _newest_root(folder / "update" / "roots")
        self.heads = Heads(self.registry, self._head_key(), self.root_version)

    @classmethod
    def create(
        cls, folder: Path, trust_folder: Path | None = None, config: FleetConfig | None = None
    ) -> "Fleet":
        """`trust_folder`: a ceremony folder (roots/<n>.cose, and keys/head.pem to sign heads)."""
        if (folder / "fleet.json").exists():
            raise OutpostError(
                "fleet-exists",
                f"{folder} already holds a fleet",
                "use it, or choose another folder",
                ExitCode.ALREADY_DONE,
            )
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        Ca.create(folder / "ca")
        for name in ("root", "releases", "blobs"):
            (folder / "update" / name).mkdir(parents=True, exist_ok=True)
        if trust_folder is not None:
            _adopt_trust(folder, trust_folder)
        write_private(folder / "token", secrets.token_urlsafe(32).encode() + b"\n")
        write_whole(folder / "fleet.json", json.dumps(asdict(config or FleetConfig())).encode())
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> "Fleet":
        try:
            stored = json.loads((folder / "fleet.json").read_text())
        except FileNotFoundError:
            raise OutpostError(
                "no-fleet", f"{folder} holds no fleet", "run `outpost fleet init`", ExitCode.USAGE
            ) from None
        return cls(folder, FleetConfig(**{**stored, "names": tuple(stored["names"])}))

    def close(self) -> None:
        self.registry.close()

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def token(self) -> str:
        return read_private(self.folder / "token").decode().strip()

    @property
    def root(self) -> bytes:
        """The trust root in force (a signed document)."""
        if not self.root_version:
            raise OutpostError(
                "no-root",
                "this fleet has no trust root",
                "run `outpost fleet init` with --trust",
                ExitCode.USAGE,
            )
        return (self.folder / "update" / "roots" / f"{self.root_version}.cose").read_bytes()

    def _head_key(self) -> SigningKey | None:
        path = self.folder / "keys" / "head.pem"
        if not path.exists():
            return None
        read_private(path)
        passphrase = os.environ.get(HEAD_PASSPHRASE_ENV)
        return SigningKey.load(
            path, read_private(Path(passphrase)).rstrip(b"\r\n") if passphrase else None
        )

    # --- releases

    def publish(self, release_folder: Path, actor: str = "local") -> Release:
        """Take a signed build (release.cose, files/) into the fleet, once it verifies."""
        document = _read(release_folder / "release.cose")
        try:
            parsed = trust.parse_release(
                trust.verify(trust.stored_root(self.root), "release", document)
            )
        except VerifyError as error:
            raise OutpostError(
                error.code,
                f"the release is refused: {error.code} {error.detail}".rstrip(),
                "sign it with a release key of the trust root",
                ExitCode.VERIFICATION_FAILED,
            ) from None
        schema = _schema(release_folder / "files", {entry[0] for entry in parsed["files"]})
        release = Release(
            parsed["digest"].hex(),
            parsed["product"],
            parsed["version"],
            parsed["epoch"],
            document,
            jsonable(parsed),
            record.schema_id(schema).hex() if schema else None,
            now_ms(),
        )
        self.repository.add_release(document, release_folder / "files")
        with self.registry.transaction():
            known = self.registry.releases.find(release.digest)
            self.registry.releases.add(release, schema)
            if known is None:
                self.registry.audit.add(
                    now_ms(),
                    actor,
                    "publish",
                    release.digest,
                    {"product": release.product, "version": release.version},
                )
        return self.registry.releases.get(release.digest)

    def add_root(self, document: bytes, actor: str = "local") -> int:
        """The next trust root, accepted as a device accepts it: signed by the old and the new."""
        try:
            new = trust.next_root(trust.stored_root(self.root), document)
        except VerifyError as error:
            raise OutpostError(
                error.code,
                f"the root is refused: {error.code}",
                "roots follow one another without gaps",
                ExitCode.VERIFICATION_FAILED,
            ) from None
        self.repository.add_root(document)
        self.root_version = self.heads.root_version = new["version"]
        self.registry.audit.add(now_ms(), actor, "root", str(self.root_version))
        return self.root_version

    # --- devices

    @property
    def authorities(self) -> bytes:
        """What a device is to trust, one behind the other: the CA in use and, where `ca/next.der`
        lies beside it, the one that will follow (docs/runbooks/certificates.md)."""
        following = self.folder / "ca" / "next.der"
        return self.ca.ca_der + (following.read_bytes() if following.exists() else b"")

    def enroll(self, csr_der: bytes, identity: Identity, actor: str = "local") -> bytes:
        """Certificate for the key the device made; the device is in the registry from now on."""
        cert_der = self.ca.issue(csr_der, identity.id, self.config.certificate_days)
        complete = Identity(
            identity.id,
            identity.product,
            identity.board,
            identity.hw_uid,
            pki.cert_serial(cert_der),
            pki.spki_sha256(cert_der),
        )
        known = self.registry.devices.find(identity.id)
        with self.registry.transaction():
            self.registry.devices.add(complete, now_ms())
            self._know(cert_der, identity.id)
            self.registry.audit.add(now_ms(), actor, "enroll", identity.id, asdict(complete))
        if known and known.cert_serial and known.spki_sha256 != complete.spki_sha256:
            self.ca.revoke(known.cert_serial, "superseded")
            self.registry.certificates.revoked(known.cert_serial, now_ms())
        return cert_der

    def _know(self, cert_der: bytes, device_id: str) -> None:
        self.registry.certificates.add(
            Certificate(
                pki.cert_serial(cert_der),
                device_id,
                hashlib.sha256(cert_der).hexdigest()[:16],
                pki.spki_sha256(cert_der),
                now_ms(),
                pki.not_after_ms(cert_der),
            )
        )

    def revoke(self, device_id: str, serials: list[str], why: str) -> None:
        """Certificates that a device does not need any more. A running broker must be told."""
        for serial in serials:
            self.ca.revoke(serial, why)
            self.registry.certificates.revoked(serial, now_ms())
        self.registry.audit.add(now_ms(), device_id, why, device_id, {"serials": serials})

    def rotate(self, device_id: str, csr_der: bytes) -> bytes:
        """A certificate for a device's next key.  The one before stays good: the device goes back
        to it when the new one fails, and retiring the device revokes them all."""
        device = self.registry.devices.get(device_id)
        cert_der = self.ca.issue(csr_der, device_id, self.config.certificate_days)
        serial, spki = pki.cert_serial(cert_der), pki.spki_sha256(cert_der)
        renewed = Identity(device.id, device.product, device.board, device.hw_uid, serial, spki)
        with self.registry.transaction():
            self.registry.devices.add(renewed, now_ms())
            self._know(cert_der, device_id)
            self.registry.audit.add(
                now_ms(),
                device_id,
                "rotate",
                device_id,
                {"cert_serial": serial, "spki_sha256": spki},
            )
        return cert_der

    def retire(self, device_id: str, actor: str = "local") -> Device:
        """Revoke the certificate and ignore what it still says. A running broker must be told."""
        device = self.registry.devices.get(device_id)
        if device.state == "decommissioned":
            raise OutpostError(
                "retired", f"{device_id} is retired already", None, ExitCode.ALREADY_DONE
            )
        for serial in self.registry.devices.certificates(device_id):
            self.ca.revoke(serial, "cessationOfOperation")
            self.registry.certificates.revoked(serial, now_ms())
        with self.registry.transaction():
            self.registry.devices.set_state(device_id, "decommissioned")
            self.registry.devices.gone(device_id)
            self.registry.audit.add(
                now_ms(), actor, "retire", device_id, {"cert_serial": device.cert_serial}
            )
        return self.registry.devices.get(device_id)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise OutpostError(
            "not-signed", f"{path} is missing", "build, then sign the release", ExitCode.USAGE
        ) from None


def _schema(files: Path, names: set[str]) -> bytes | None:
    if SCHEMA_FILE not in names:
        return None
    schema = _read(files / SCHEMA_FILE)
    try:
        record.read_schema(schema)
    except record.RecordError as error:
        raise OutpostError(
            error.code,
            "the release's telemetry schema cannot be read",
            "build it again",
            ExitCode.VERIFICATION_FAILED,
        ) from None
    return schema


def _newest_root(folder: Path) -> int:
    return max(
        (int(path.stem) for path in folder.glob("*.cose") if path.stem.isdigit()), default=0
    )


def _adopt_trust(folder: Path, trust_folder: Path) -> None:
    """Root 1 is believed (an operator chose it), each later one as a device would."""
    repository = Repository(folder / "update")
    current = None
    for version in range(1, _newest_root(trust_folder / "roots") + 1):
        document = (trust_folder / "roots" / f"{version}.cose").read_bytes()
        try:
            if current is None:
                current = trust.stored_root(document)
                trust.verify(current, "root", document)
            else:
                current = trust.next_root(current, document)
        except VerifyError:
            break  # proposed and not signed by enough yet
        repository.add_root(document)
    if current is None:
        raise OutpostError(
            "no-root",
            f"{trust_folder} holds no trust root",
            "make one with `outpost keys create`",
            ExitCode.USAGE,
        )
    key = trust_folder / "keys" / "head.pem"
    if key.exists():
        (folder / "keys").mkdir(mode=0o700, exist_ok=True)
        shutil.copyfile(key, folder / "keys" / "head.pem")
        (folder / "keys" / "head.pem").chmod(0o600)
