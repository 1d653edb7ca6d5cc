"""Certificates over a device's life: another one when it asks, the end of the one before, and the
receipt of a device that has forgotten who it was.

Invariants: a certificate is revoked only when the device says that it uses a later one (or has
been wiped): until then it is the way back. Nobody gets a certificate who was not asked to make a
key, unless the one in use ends soon.
"""

import hashlib
from collections.abc import Callable
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from loader import cbor
from loader.cbor import VerifyError

from outpost.fleet.fleet import Fleet, now_ms
from outpost.fleet.observation import Observation
from outpost.fleet.orders import DESTRUCTIVE, Send
from outpost.fleet.registry import Command, SecurityEvent

ROTATE = "rotate-certificate"
MAX_CERTIFIED = 3  # certificates for one such command
SOON_MS = 45 * 86_400_000  # a device asks by itself 30 days before the end


class Papers:
    """`refresh` makes the broker refuse what has been revoked, and keeps its sessions."""

    def __init__(self, fleet: Fleet, send: Send, refresh: Callable[[], None]) -> None:
        self._fleet = fleet
        self._registry = fleet.registry
        self._send = send
        self._refresh = refresh
        self._certified: dict[str, int] = {}

    # --- another one

    def certify(self, device_id: str, csr_der: bytes) -> None:
        """Answer a CSR if it was asked for or is due; a few times, as answers get lost."""
        reason = self._reason(device_id)
        if reason is None or self._certified.get(reason, 0) >= MAX_CERTIFIED:
            self._suspicious(device_id, "uninvited-csr", "nobody asked for it")
            return
        self._certified[reason] = self._certified.get(reason, 0) + 1
        cert_der = self._fleet.rotate(device_id, csr_der)
        answer = cbor.encode({"cert": cert_der, "ca": self._fleet.authorities})
        self._send(f"v1/{device_id}/down/certificate", answer)

    def _reason(self, device_id: str) -> str | None:
        """The command that asks for it, or the serial that ends soon."""
        at_ms = now_ms()
        for command in self._registry.commands.of(device_id):
            if command.cmd == ROTATE and command.expires_ms > at_ms:
                return command.id
        good = [c for c in self._registry.certificates.of(device_id) if c.revoked_ms is None]
        if good and good[-1].not_after_ms is not None and good[-1].not_after_ms < at_ms + SOON_MS:
            return good[-1].serial
        return None

    def in_use(self, observation: Observation) -> None:
        """The device says which certificate it uses: those before it have done their work."""
        fingerprint = observation.body.get("cert")
        every = self._registry.certificates.of(observation.device)
        number = next(
            (n for n, c in enumerate(every) if fingerprint and c.fingerprint == fingerprint), 0
        )
        old = [c for c in every[:number] if c.revoked_ms is None]
        if old:
            self._fleet.revoke(observation.device, [c.serial for c in old], "superseded")
            self._refresh()

    # --- the end

    def answered(self, observation: Observation) -> Command | None:
        """A command that destroys was answered: the device's receipt is verified and kept.

        Returns the command when the receipt proves that the device has forgotten its keys.
        """
        command = self._registry.commands.get(str(observation.body.get("id")))
        if command is None or command.cmd not in DESTRUCTIVE or not command.ok:
            return None
        told = observation.body.get("r")
        receipt: dict[str, Any] = told if isinstance(told, dict) else {}
        why = self._flaw(command, receipt)
        if why:
            self._suspicious(command.device, "bad-receipt", f"{command.cmd} {command.id}: {why}")
            return None
        self._registry.audit.add(
            now_ms(), command.device, "wiped", command.device, {"id": command.id, **receipt}
        )
        return command

    def _flaw(self, command: Command, receipt: dict[str, Any]) -> str:
        """What is wrong with a receipt; empty when nothing is."""
        try:
            document, signature, point = (
                bytes.fromhex(str(receipt.get(key, ""))) for key in ("doc", "sig", "pub")
            )
            key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
            der = encode_dss_signature(
                int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            )
            key.verify(der, document, ec.ECDSA(hashes.SHA256()))
            fields = cbor.check(cbor.decode(document), "t str device str id str")
        except (ValueError, InvalidSignature, VerifyError) as error:
            return f"unreadable or forged ({type(error).__name__})"
        spki = hashlib.sha256(
            key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        ).hexdigest()
        known = {c.spki_sha256 for c in self._registry.certificates.of(command.device)}
        if spki not in known | {self._registry.devices.get(command.device).spki_sha256}:
            return "not signed by a key of this device"
        told = (fields["t"], fields["device"], fields["id"])
        return "" if told == ("wiped", command.device, command.id) else "about something else"

    def _suspicious(self, device_id: str, kind: str, detail: str) -> None:
        self._registry.journal.add_security(SecurityEvent(now_ms(), kind, device_id, "", detail))
