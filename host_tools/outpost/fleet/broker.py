"""Mosquitto as a child process: mutual TLS, one subtree per device, and what it refused.

Invariants: a client's name is the CN of its certificate (a client id in CONNECT is overruled), and
the access list gives each name `v1/<name>/up` to write and `v1/<name>/down` to read, so a device
cannot speak as another, nor push another off the broker.  The folder is private to this user.
The child dies with its parent; when it dies alone it is started again, with growing pauses.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from outpost.errors import ExitCode, OutpostError
from outpost.fleet.brokerlog import LogReader, Refusal
from outpost.fleet.files import write_private
from outpost.fleet.pki import SERVICE_PREFIX, Ca, Credentials, pem
from outpost.paths import tool_path

START_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 1.5
BACKOFF_MAX_S = 30.0
WATCH_S = 2.0
MAX_PACKET_BYTES = 64 * 1024
DROPPED_TOPIC = "$SYS/broker/publish/messages/dropped"
MAX_QUEUED = 500_000
_PR_SET_PDEATHSIG = 1

_CONFIG = """\
per_listener_settings false
listener {port} {host}
cafile {folder}/ca.pem
certfile {folder}/broker.crt
keyfile {folder}/broker.key
crlfile {crl}
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file {folder}/acl
max_packet_size {max_packet}
max_inflight_messages 1000
# What ingest has not taken yet was acknowledged to a device: a queue that overflows loses records.
max_queued_messages {max_queued}
persistent_client_expiration 14d
persistence true
persistence_location {folder}/store/
autosave_interval 60
set_tcp_nodelay true
log_dest stderr
# Refused publishes are told at debug level only.
log_type all
log_timestamp true
{user}
"""

_ACL = """\
pattern write v1/%u/up/#
pattern read v1/%u/down/#

user {service}
topic readwrite v1/#
topic read {dropped}
"""


@dataclass(frozen=True)
class BrokerConfig:
    """Where the broker listens and lives; port 0 takes a free one."""

    folder: Path
    host: str = "127.0.0.1"
    port: int = 0
    names: tuple[str, ...] = ("127.0.0.1", "localhost")


class Broker:
    """start() -> port; stop().  `on_refusal` is called from the log thread."""

    def __init__(
        self,
        config: BrokerConfig,
        ca: Ca,
        on_refusal: Callable[[Refusal], None] = lambda refusal: None,
    ) -> None:
        self._config = config
        self._ca = ca
        self._on_refusal = on_refusal
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._watcher: threading.Thread | None = None
        self._crl_mtime_ns = 0
        self._last_lines: list[str] = []
        self.port = config.port
        self.restarts = 0

    @property
    def folder(self) -> Path:
        return self._config.folder

    @property
    def pid(self) -> int | None:
        child = self._child
        return child.pid if child and child.poll() is None else None

    def start(self) -> int:
        """Write the configuration, start the child, return once it accepts connections."""
        program = tool_path("mosquitto")
        self.port = self.port or free_port(self._config.host)
        self._write_files()
        self._stopping.clear()
        # The child is made in this thread and lives as long as it: the parent-death signal is
        # tied to the thread that forked, not to the process.
        self._thread = threading.Thread(
            target=self._keep_alive, args=(program,), name="broker", daemon=True
        )
        self._thread.start()
        try:
            self._await_listener()
        except OutpostError:
            self.stop()
            raise
        self._watcher = threading.Thread(target=self._watch, name="broker-crl", daemon=True)
        self._watcher.start()
        return self.port

    def stop(self) -> None:
        self._stopping.set()
        self._end_child()
        for thread in (self._thread, self._watcher):
            if thread and thread is not threading.current_thread():
                thread.join(STOP_TIMEOUT_S)

    def reload(self) -> None:
        """Read the revocation list again; by a restart, as a reload keeps open sessions."""
        self._end_child()
        self._await_listener()

    def refresh(self) -> None:
        """Read the revocation list again for connections to come; open sessions go on."""
        self._crl_mtime_ns = self._ca.crl_path.stat().st_mtime_ns
        child = self._child
        if child and child.poll() is None:
            child.send_signal(signal.SIGHUP)

    def _watch(self) -> None:
        """A station in another process may revoke: its word counts within seconds as well."""
        while not self._stopping.wait(WATCH_S):
            if self._crl_changed():
                with contextlib.suppress(OutpostError):
                    self.reload()

    def _crl_changed(self) -> bool:
        return self._ca.crl_path.stat().st_mtime_ns != self._crl_mtime_ns

    def save(self) -> None:
        """Write sessions to disk now: once ingest has subscribed, a broker that is killed and
        started again keeps for it what arrives before it is back."""
        child = self._child
        if child and child.poll() is None:
            child.send_signal(signal.SIGUSR1)

    def ingest_credentials(self) -> Credentials:
        """The certificate of the one client that may read everything."""
        return self._ca.issue_service("ingest")

    def _write_files(self) -> None:
        folder = self._config.folder
        (folder / "store").mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        server = self._ca.issue_server(self._config.names)
        write_private(folder / "ca.pem", self._ca.ca_pem)
        write_private(folder / "broker.crt", pem(server.cert_der, "CERTIFICATE"))
        write_private(folder / "broker.key", pem(server.key_der, "PRIVATE KEY"))
        write_private(
            folder / "acl",
            _ACL.format(service=SERVICE_PREFIX + "ingest", dropped=DROPPED_TOPIC).encode(),
        )
        # Started by root, mosquitto changes to the user `mosquitto`, who may not read this folder.
        user = "user root" if os.geteuid() == 0 else ""
        write_private(
            folder / "mosquitto.conf",
            _CONFIG.format(
                port=self.port,
                host=self._config.host,
                folder=folder,
                crl=self._ca.crl_path,
                max_packet=MAX_PACKET_BYTES,
                max_queued=MAX_QUEUED,
                user=user,
            ).encode(),
        )

    def _keep_alive(self, program: Path) -> None:
        backoff_s = 0.1
        while not self._stopping.is_set():
            started = time.monotonic()
            self._run_once(program)
            if self._stopping.is_set():
                return
            self.restarts += 1
            if time.monotonic() - started > BACKOFF_MAX_S:
                backoff_s = 0.1
            self._stopping.wait(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)

    def _run_once(self, program: Path) -> None:
        self._crl_mtime_ns = self._ca.crl_path.stat().st_mtime_ns
        self._child = subprocess.Popen(
            [str(program), "-c", str(self._config.folder / "mosquitto.conf")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        if self._stopping.is_set():
            self._child.terminate()
        reader = LogReader()
        assert self._child.stderr
        with self._child.stderr as log:
            for raw in log:
                self._read_line(reader, raw.decode("utf-8", "replace"))
        self._child.wait()

    def _read_line(self, reader: LogReader, line: str) -> None:
        self._last_lines = [*self._last_lines[-4:], line.rstrip()]
        refusal = reader.feed(line)
        if refusal:
            self._on_refusal(refusal)

    def _end_child(self) -> None:
        child = self._child
        if child is None or child.poll() is not None:
            return
        child.terminate()
        try:
            child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _await_listener(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.pid and _listens(self._config.host, self.port):
                return
            time.sleep(0.02)
        raise OutpostError(
            "broker-start",
            f"mosquitto does not listen on port {self.port}: " + " / ".join(self._last_lines[-3:]),
            "`outpost doctor` checks mosquitto; is the port taken?",
            ExitCode.FAILED,
        )


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(host: str, port: int) -> bool:
    target = "127.0.0.1" if host in ("0.0.0.0", "") else host
    try:
        with socket.create_connection((target, port), timeout=0.5):
            return True
    except OSError:
        return False


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
