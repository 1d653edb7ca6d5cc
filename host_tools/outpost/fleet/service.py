"""What the API and the pages act on: one fleet with its running parts."""

import contextlib
import hmac
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loader import cbor

from outpost.errors import ExitCode, OutpostError
from outpost.fleet.dispatch import Dispatcher
from outpost.fleet.fleet import Fleet, now_ms
from outpost.fleet.registry import Command, Registry, Release, SecurityEvent

ROTATE = "rotate-certificate"
MAX_CERTIFIED = 3  # certificates for one such command
DAY_MS = 86_400_000
CHECK_TTL_S = 7 * 86_400


class Service:
    """`send(topic, payload)` reaches the broker; `reload_broker` makes revocations take effect."""

    def __init__(
        self, fleet: Fleet, send: Callable[[str, bytes], None], reload_broker: Callable[[], None]
    ) -> None:
        self.fleet = fleet
        self.rollouts = Dispatcher(fleet.registry, fleet.heads, self._ask_to_check)
        self.rollouts.keep_house = self._keep_house
        self.token = fleet.token
        self.backlog: Callable[[], int] = lambda: 0
        self.restarts: Callable[[], int] = lambda: 0
        self.dropped: Callable[[], int] = lambda: 0
        self._send = send
        self._certified: dict[str, int] = {}
        self._reload_broker = reload_broker

    @property
    def registry(self) -> Registry:
        return self.fleet.registry

    @property
    def reading_is_open(self) -> bool:
        return self.fleet.config.host in ("127.0.0.1", "::1", "localhost")

    def is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())

    def send_command(self, device_id: str, cmd: str, args: dict[str, Any], ttl_s: int) -> Command:
        """Queued by the broker while the device sleeps; its answer is stored by ingest."""
        device = self.registry.devices.get(device_id)
        if device.state != "active":
            raise OutpostError(
                "not-active", f"{device_id} is {device.state}", None, ExitCode.REFUSED
            )
        issued_ms = now_ms()
        command = Command(
            secrets.token_hex(8), device_id, cmd, args, issued_ms, issued_ms + ttl_s * 1000
        )
        body = {"id": command.id, "cmd": cmd, "args": args, "exp": command.expires_ms // 1000}
        try:
            payload = cbor.encode(body)
        except (TypeError, ValueError) as error:
            raise OutpostError(
                "command-args",
                f"a device cannot read these arguments: {error}",
                "use whole numbers, text, lists and maps",
                ExitCode.USAGE,
            ) from None
        self.registry.commands.add(command)
        self._send(f"v1/{device_id}/down/command", payload)
        return command

    def certify(self, device_id: str, csr_der: bytes) -> None:
        """Answer a CSR, if an operator asked this device for one; a few times, as answers get
        lost."""
        at_ms = now_ms()
        for command in self.registry.commands.of(device_id):
            if command.cmd == ROTATE and command.expires_ms > at_ms:
                break
        else:
            command = None
        count = self._certified.get(command.id, 0) if command else MAX_CERTIFIED
        if command is None or count >= MAX_CERTIFIED:
            self.registry.journal.add_security(
                SecurityEvent(at_ms, "uninvited-csr", device_id, "", "nobody asked for it")
            )
            return
        self._certified[command.id] = count + 1
        cert_der = self.fleet.rotate(device_id, csr_der)
        answer = cbor.encode({"cert": cert_der, "ca": self.fleet.ca.ca_der})
        self._send(f"v1/{device_id}/down/certificate", answer)

    def retire(self, device_id: str, actor: str = "api") -> None:
        self.fleet.retire(device_id, actor)
        self._reload_broker()

    def publish(self, folder: str | Path, actor: str = "local") -> Release:
        return self.fleet.publish(Path(folder), actor)

    def _keep_house(self, at_ms: int) -> None:
        self.fleet.heads.renew(at_ms)
        self.registry.telemetry.expire(at_ms - self.fleet.config.keep_days * DAY_MS)

    def _ask_to_check(self, device_id: str) -> None:
        """A hint: a device that misses it looks by itself, later."""
        with contextlib.suppress(OutpostError):
            self.send_command(device_id, "check-update", {}, CHECK_TTL_S)
