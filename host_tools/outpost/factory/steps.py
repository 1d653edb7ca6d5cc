"""The steps of a station, each as probe and apply.

Owns what a step does to a board and how it is found out that it has been done. `probe` asks the
board (and the journal) and changes nothing; `apply` may be repeated after a cut at any point. The
station probes again after each apply: a step counts only when it has been read back.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from loader import cbor
from loader.cbor import VerifyError

from outpost.errors import ExitCode, OutpostError
from outpost.factory import scripts, serials
from outpost.factory.journal import Unit
from outpost.factory.link import Link
from outpost.factory.settings import DeviceSettings


class Authority(Protocol):
    """Who signs certificates: see outpost.factory.authority."""

    @property
    def ca_der(self) -> bytes: ...

    def issue(self, csr_der: bytes, unit: Unit) -> bytes: ...


@dataclass(frozen=True)
class Plan:
    """What every unit of this run becomes."""

    product: str
    manifest_sha256: str
    """Of the signed release that must lie in slot /a."""
    settings: DeviceSettings
    authority: Authority
    block: tuple[int, int] = serials.ALL
    """First and last serial number this station may give out."""
    flasher: Callable[[Link], None] | None = None
    """Puts the factory image on a board that lacks it; None: such a board is refused."""
    heap_floor: int = 20_000
    i2c: dict[str, tuple[int, ...]] | None = None
    """Addresses that must answer, by bus."""


@dataclass
class Bench:
    """One unit on the bench: its journal entry, its link and the plan."""

    unit: Unit
    link: Link
    plan: Plan
    report: dict[str, Any] = field(default_factory=dict)
    """What the self-test found; empty when it was not run."""

    @property
    def device_id(self) -> str:
        assert self.unit.device_id is not None
        return self.unit.device_id

    def identify(self) -> dict[str, Any]:
        return identify(self.link)


def identify(link: Link) -> dict[str, Any]:
    """What the board says of itself, with board.cbor decoded ({} when there is none)."""
    found: dict[str, Any] = link.ask("identify", scripts.IDENTIFY)
    try:
        found["board"] = cbor.decode(found["board"]) if found["board"] else {}
    except VerifyError:
        found["board"] = {}
    return found


class Step(Protocol):
    """One transition of the station's state machine."""

    state: str

    def probe(self, bench: Bench) -> bool:
        """True when the board and the journal say that it is done."""

    def apply(self, bench: Bench) -> dict[str, Any]:
        """Do it; what the journal is to keep."""


class Flashed:
    """The factory image, with this very release in slot /a."""

    state = "FLASHED"

    def probe(self, bench: Bench) -> bool:
        found = bench.identify()
        product = found["board"].get("product")
        same = (found["manifest"], product) == (bench.plan.manifest_sha256, bench.plan.product)
        return bool(same)

    def apply(self, bench: Bench) -> dict[str, Any]:
        if bench.plan.flasher is None:
            message = f"the board at hand does not hold this release of {bench.plan.product}"
            raise OutpostError(
                "not-flashed", message, "run `outpost flash` first", ExitCode.REFUSED
            )
        bench.plan.flasher(bench.link)
        return {"manifest_sha256": bench.plan.manifest_sha256}


class Keyed:
    """A key pair made on the board, and its certificate request in the journal."""

    state = "KEYED"

    def probe(self, bench: Bench) -> bool:
        public: bytes = bench.link.ask("read public key", scripts.public_key())
        return bool(public) and bench.unit.csr is not None and public in bench.unit.csr

    def apply(self, bench: Bench) -> dict[str, Any]:
        csr: bytes = bench.link.ask("make key", scripts.request(bench.device_id))
        return {"csr": csr, "spki_sha256": check_request(csr, bench.device_id)}


def check_request(csr_der: bytes, device_id: str) -> str:
    """SHA-256 of the public key of a request that is self-signed and names this device."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from cryptography.x509.oid import NameOID

    try:
        request = x509.load_der_x509_csr(csr_der)
        names = [
            name.value for name in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        ]
        sound = request.is_signature_valid and names == [device_id]
    except (ValueError, TypeError):
        sound = False
    if not sound:
        message = "the certificate request from the board is not one for this device"
        raise OutpostError(
            "csr",
            message,
            "repeat; if it stays, put the board aside",
            ExitCode.VERIFICATION_FAILED,
        )
    spki = request.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


class Certified:
    """A certificate in the journal. A cut between issue and journal costs a certificate that
    nobody ever holds.
    """

    state = "CERTIFIED"

    def probe(self, bench: Bench) -> bool:
        return bench.unit.certificate is not None

    def apply(self, bench: Bench) -> dict[str, Any]:
        assert bench.unit.csr is not None
        certificate = bench.plan.authority.issue(bench.unit.csr, bench.unit)
        return {"certificate": certificate}


class Written:
    """Certificate, authority and settings on the board, read back and compared."""

    state = "WRITTEN"

    def probe(self, bench: Bench) -> bool:
        return bool(bench.identify()["files"] == self._expected(bench))

    def _expected(self, bench: Bench) -> dict[str, str]:
        assert bench.unit.certificate is not None
        contents = {
            "device.cbor": bench.plan.settings.encode(bench.device_id),
            "id/cert.der": bench.unit.certificate,
            "id/ca.der": bench.plan.authority.ca_der,
        }
        return {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}

    def apply(self, bench: Bench) -> dict[str, Any]:
        certificate, authority = bench.unit.certificate, bench.plan.authority.ca_der
        assert certificate is not None
        bench.link.ask("store certificate", scripts.install(certificate, authority))
        # Settings last: the application takes their presence for "provisioned".
        settings = bench.plan.settings.encode(bench.device_id)
        bench.link.ask("store settings", scripts.write("/data/device.cbor", settings))
        # The hash of the settings stays out: they hold a Wi-Fi password that could be guessed from
        # it.
        return {
            name: digest
            for name, digest in self._expected(bench).items()
            if name.startswith("id/")
        }


class SelfTested:
    """The pair loads into the board's own TLS, heap and random source are sane, the parts on its
    buses answer.
    """

    state = "SELF_TESTED"

    def __init__(self) -> None:
        self._passed = False

    def probe(self, bench: Bench) -> bool:
        return self._passed

    def apply(self, bench: Bench) -> dict[str, Any]:
        report: dict[str, Any] = bench.link.ask("self-test", scripts.SELF_TEST)
        if report["tls"]:
            raise _failed("tls", f"TLS refuses the identity: {report['tls']}")
        if report["heap_free"] < bench.plan.heap_floor:
            raise _failed(
                "heap",
                f"{report['heap_free']} bytes of heap are free, {bench.plan.heap_floor} needed",
            )
        if not report["random"]:
            raise _failed("random", "the random source repeats itself")
        if bench.plan.i2c:  # first: it says more exactly what is missing
            report["i2c"] = self._scan(bench)
        report["firmware"] = self._firmware(bench)
        self._passed = True
        bench.report = report
        return {"self_test": report}

    def _firmware(self, bench: Bench) -> dict[str, Any]:
        """The board's own look at itself; parts that are silent count where they must be there."""
        script = scripts.look_at_itself(bench.unit.board)
        found: dict[str, Any] = bench.link.ask("look at itself", script)
        if found["flash"]:
            raise _failed("flash", f"a file could not be written and read: {found['flash']}")
        if not found["clock"]:
            raise _failed("clock", "time does not pass as it should")
        silent = [f"{name}: {why}" for name, why in found["sensors"].items() if why]
        if silent and bench.plan.i2c is not None:
            raise _failed("sensor", "no reading from " + ", ".join(silent))
        return found

    def _scan(self, bench: Bench) -> dict[str, list[int]]:
        wanted = bench.plan.i2c or {}
        found: dict[str, list[int]] = bench.link.ask(
            "scan I2C", scripts.scan_i2c(bench.unit.board, tuple(wanted))
        )
        for bus, addresses in wanted.items():
            for address in addresses:
                if address not in found[bus]:
                    raise _failed("i2c", f"nothing answers at 0x{address:02x} on {bus}")
        return found


def _failed(what: str, message: str) -> OutpostError:
    return OutpostError(
        f"self-test-{what}", message, "repair the board and run again", ExitCode.FAILED
    )


class Sealed:
    """Nothing more on the board: the record is closed by the station."""

    state = "SEALED"

    def probe(self, bench: Bench) -> bool:
        return bench.unit.reached("SEALED")

    def apply(self, bench: Bench) -> dict[str, Any]:
        return {}


def all_steps() -> tuple[Step, ...]:
    """The steps after RESERVED, in order."""
    return Flashed(), Keyed(), Certified(), Written(), SelfTested(), Sealed()
