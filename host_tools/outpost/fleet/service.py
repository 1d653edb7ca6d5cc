"""What the API and the pages act on: one fleet with its running parts."""

import contextlib
import hmac
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from outpost.errors import OutpostError
from outpost.fleet.dispatch import Dispatcher
from outpost.fleet.fleet import Fleet, now_ms
from outpost.fleet.observation import Observation
from outpost.fleet.orders import Orders, Send
from outpost.fleet.papers import Papers
from outpost.fleet.registry import Command, Desired, Registry, Release, SecurityEvent

DAY_MS = 86_400_000
CHECK_TTL_S = 7 * 86_400


class Service:
    """`send` reaches the broker; `reload_broker` makes revocations take effect at once, `refresh`
    for connections that are made from now on (and is enough where no session is to be ended)."""

    def __init__(
        self,
        fleet: Fleet,
        send: Send,
        reload_broker: Callable[[], None],
        refresh: Callable[[], None] | None = None,
    ) -> None:
        self.fleet = fleet
        self.rollouts = Dispatcher(fleet.registry, fleet.heads, self._ask_to_check)
        self.rollouts.keep_house = self._keep_house
        self.orders = Orders(fleet, send)
        self.papers = Papers(fleet, send, refresh or reload_broker)
        self.token = fleet.token
        self.backlog: Callable[[], int] = lambda: 0
        self.restarts: Callable[[], int] = lambda: 0
        self.dropped: Callable[[], int] = lambda: 0
        self._reload_broker = reload_broker

    @property
    def registry(self) -> Registry:
        return self.fleet.registry

    @property
    def reading_is_open(self) -> bool:
        return self.fleet.config.host in ("127.0.0.1", "::1", "localhost")

    def is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())

    def send_command(
        self, device_id: str, cmd: str, args: dict[str, Any], ttl_s: int, actor: str = ""
    ) -> Command:
        """Queued by the broker while the device sleeps; its answer is stored by ingest."""
        return self.orders.command(device_id, cmd, args, ttl_s, actor)

    def send_signed(
        self, device_id: str, cmd: str, document: bytes, actor: str = "local"
    ) -> Command:
        """A command that destroys: `document` is the ops key's word for it."""
        return self.orders.signed(device_id, cmd, document, actor)

    def desire(
        self, device_id: str, changes: dict[str, int | None], actor: str = "local"
    ) -> Desired:
        """Change a device's settings; None: as the product has it."""
        return self.orders.desire(device_id, changes, actor)

    def retire(self, device_id: str, actor: str = "api") -> None:
        self.fleet.retire(device_id, actor)
        self.orders.forget(device_id)
        self._reload_broker()

    def publish(self, folder: str | Path, actor: str = "local") -> Release:
        return self.fleet.publish(Path(folder), actor)

    # --- what devices say

    def observe(self, observations: Iterable[Observation]) -> None:
        """What follows for certificates and for devices at the end of their lives."""
        for observation in observations:
            if observation.kind == "csr":
                self._certify(observation)
            elif observation.kind == "state":
                self.papers.in_use(observation)
            elif observation.kind == "reply":
                self._answered(observation)

    def _certify(self, observation: Observation) -> None:
        try:
            self.papers.certify(observation.device, observation.body["csr"])
        except OutpostError as error:
            self.registry.journal.add_security(
                SecurityEvent(now_ms(), "bad-csr", observation.device, "", error.message[:300])
            )

    def _answered(self, observation: Observation) -> None:
        command = self.papers.answered(observation)
        if command is not None and command.cmd == "decommission":
            with contextlib.suppress(OutpostError):  # retired by hand in the meantime
                self.retire(command.device, command.device)

    def _keep_house(self, at_ms: int) -> None:
        self.fleet.heads.renew(at_ms)
        self.registry.telemetry.expire(at_ms - self.fleet.config.keep_days * DAY_MS)

    def _ask_to_check(self, device_id: str) -> None:
        """A hint: a device that misses it looks by itself, later."""
        with contextlib.suppress(OutpostError):
            self.send_command(device_id, "check-update", {}, CHECK_TTL_S)
