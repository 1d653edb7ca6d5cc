"""Everything at once, in one process: `outpost fleet serve`, the demo and the tests use this.

    with FleetServer(folder, trust=ceremony_folder) as fleet:
        fleet.url, fleet.broker_port, fleet.update_url, fleet.registry, fleet.ca
        fleet.publish(build_folder); fleet.rollouts.create("weather", "1.1.0", stages=…)

Order of starting: broker, ingest, rollouts, HTTP; of stopping: the reverse, so that nothing acts
on a part that is gone.  A crash of any part is survived by the others; a crash of the process
takes the broker with it.
"""

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from outpost.errors import ExitCode, OutpostError
from outpost.fleet.broker import Broker, BrokerConfig
from outpost.fleet.brokerlog import Refusal
from outpost.fleet.dispatch import Dispatcher
from outpost.fleet.files import lock, write_whole
from outpost.fleet.fleet import Fleet, FleetConfig, now_ms
from outpost.fleet.httpd import HttpServer, application
from outpost.fleet.observation import Observation
from outpost.fleet.pki import Ca
from outpost.fleet.registry import Identity, Registry, Release, SecurityEvent
from outpost.fleet.service import Service
from outpost.fleet.subscriber import Subscriber


@dataclass(frozen=True)
class Running:
    """Where a running server is, as written to running.json."""

    url: str
    broker_host: str
    broker_port: int
    pid: int


class FleetServer:
    """A context manager; `start` and `stop` for those who cannot use one."""

    def __init__(
        self, folder: Path, trust: Path | None = None, config: FleetConfig | None = None
    ) -> None:
        """Opens the fleet in `folder`, or creates it (with the trust root in `trust`)."""
        folder = Path(folder).resolve()
        if (folder / "fleet.json").exists():
            self.fleet = Fleet.open(folder)
        else:
            self.fleet = Fleet.create(folder, trust, config)
        if config is not None:
            self.fleet.config = config
        self._lock: IO[bytes] | None = None
        self.service = Service(self.fleet, self._send, self._reload_broker, self._refresh_broker)
        self.broker = Broker(self._broker_config(), self.fleet.ca, self._refused)
        self.subscriber = Subscriber(self.registry, self._observed)
        self.service.backlog = lambda: self.subscriber.backlog
        self.service.dropped = lambda: self.subscriber.dropped
        self.service.restarts = lambda: self.broker.restarts
        self._http = HttpServer(
            application(self.service), self.fleet.config.host, self.fleet.config.http_port
        )

    def _broker_config(self) -> BrokerConfig:
        config = self.fleet.config
        return BrokerConfig(
            self.fleet.folder / "broker", config.host, config.broker_port, config.server_names
        )

    def start(self) -> "FleetServer":
        # Two servers would run every rollout twice.
        self._lock = lock(self.fleet.folder / "server.lock")
        try:
            self.broker.start()
            self.subscriber.start(
                (self.fleet.config.host, self.broker.port),
                self.broker.folder,
                self.broker.ingest_credentials(),
                self.ca.ca_pem,
            )
            if not self.subscriber.await_ready():
                raise OutpostError("ingest-start", "ingest cannot subscribe at the broker", None)
            self.broker.save()
            self.service.orders.remind()
            self._http.start()
            self.rollouts.start()
        except BaseException:
            self.stop()
            raise
        running = Running(self.url, self.broker_host, self.broker.port, os.getpid())
        write_whole(self._running_file, json.dumps(running.__dict__).encode())
        return self

    def stop(self) -> None:
        if self._lock is None:
            return
        self._running_file.unlink(missing_ok=True)
        self._http.stop()
        self.rollouts.stop()
        self.subscriber.stop()
        self.broker.stop()
        self.fleet.close()
        self._lock.close()
        self._lock = None

    def __enter__(self) -> "FleetServer":
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # --- what users of it need

    @property
    def registry(self) -> Registry:
        return self.fleet.registry

    @property
    def ca(self) -> Ca:
        return self.fleet.ca

    @property
    def rollouts(self) -> Dispatcher:
        return self.service.rollouts

    @property
    def token(self) -> str:
        return self.fleet.token

    @property
    def url(self) -> str:
        return f"http://{self.broker_host}:{self._http.port}"

    @property
    def update_url(self) -> str:
        """For device.cbor: {"update": {"url": …, "head": <device id>}}."""
        return f"{self.url}/update"

    @property
    def broker_host(self) -> str:
        host = self.fleet.config.host
        return "127.0.0.1" if host == "0.0.0.0" else host

    @property
    def broker_port(self) -> int:
        return self.broker.port

    def publish(self, release_folder: Path) -> Release:
        """Take a signed build into the fleet."""
        return self.fleet.publish(Path(release_folder))

    def enroll(self, csr_der: bytes, identity: Identity) -> bytes:
        """Certificate (DER) for a device's CSR; registers the device."""
        return self.fleet.enroll(csr_der, identity)

    def send_command(
        self, device_id: str, cmd: str, args: dict[str, object] | None = None, ttl_s: int = 3600
    ) -> str:
        """The command's id; its answer appears in `registry.commands.get(id)`."""
        return self.service.send_command(device_id, cmd, args or {}, ttl_s).id

    # --- how the parts meet

    @property
    def _running_file(self) -> Path:
        return self.fleet.folder / "running.json"

    def _send(self, topic: str, payload: bytes, retain: bool = False) -> None:
        self.subscriber.publish(topic, payload, retain)

    def _reload_broker(self) -> None:
        self.broker.reload()

    def _refresh_broker(self) -> None:
        self.broker.refresh()

    def _observed(self, observations: list[Observation]) -> None:
        self.rollouts.observe(observations)
        self.service.observe(observations)

    def _refused(self, refusal: Refusal) -> None:
        """From the broker's log thread, which must go on reading whatever happens here."""
        with contextlib.suppress(Exception):
            self.registry.journal.add_security(
                SecurityEvent(
                    now_ms(),
                    f"broker-{refusal.kind}",
                    refusal.device[:64],
                    refusal.address[:64],
                    refusal.detail[:300],
                )
            )


def running(folder: Path) -> Running:
    """The server of this folder, if one runs."""
    try:
        found = Running(**json.loads((folder / "running.json").read_text()))
        os.kill(found.pid, 0)
    except (OSError, ValueError, TypeError):
        raise OutpostError(
            "not-running",
            f"no server runs for {folder}",
            "start it with `outpost fleet serve`",
            ExitCode.SERVER_UNREACHABLE,
        ) from None
    return found
