"""What the fleet's tests build with: a trust root, signed releases, and devices that speak MQTT.

A `Device` here is a client with the certificate of a device and none of its firmware: it can say
what no honest device would.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cbor2
import paho.mqtt.client as mqtt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from node.core import record
from outpost.fleet.pki import Ca, pem
from outpost.fleet.registry import Identity
from outpost.signing import cose, documents
from outpost.signing.ceremony import Ceremony

SCHEMA = record.make_schema([("temperature", "Cel", -2), ("pressure", "Pa", 0)])
BOARDS = {"sim": [], "other": []}


def make_trust(folder: Path) -> Ceremony:
    """One root key instead of three: making RSA keys is what takes the time here."""
    return Ceremony.create(folder, threshold=1, root_keys=1, plain=True)


def make_release(folder: Path, ceremony: Ceremony, version: str, epoch: int = 0) -> Path:
    """A signed build folder as `outpost build` and `outpost sign` leave it."""
    files = {"node/main.mpy": b"main " + version.encode(), "schema.cbor": SCHEMA}
    target = folder / f"weather-{version}"
    for name, content in files.items():
        path = target / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    fields = {
        "product": "weather",
        "version": version,
        "epoch": epoch,
        "boards": BOARDS,
        "chips": ["rp2040"],
        "mpy": 6,
        "micropython": [1, 25, 0],
        "loader": 1,
        "budget": 65536,
        "health": {"deadline_s": 60, "publishes": 1, "heap_floor": 0, "connected": True},
        "config": bytes(32),
        "sbom": bytes(32),
        "source": "test",
    }
    payload = documents.release(
        fields,
        [
            (name, len(content), hashlib.sha256(content).digest())
            for name, content in files.items()
        ],
    )
    (target / "release.cose").write_bytes(cose.sign("release", payload, ceremony.key("release")))
    return target


def make_csr(key: ec.EllipticCurvePrivateKey, name: str = "anything") -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def identity(device_id: str) -> Identity:
    return Identity(
        device_id, "weather", "sim", hashlib.sha256(device_id.encode()).hexdigest()[:12]
    )


def wait_for(condition: Callable[[], object], timeout_s: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


class Device:
    """An MQTT client with a certificate in `folder`; `trusted` is the CA it believes."""

    def __init__(self, folder: Path, device_id: str, trusted: Ca) -> None:
        self.id = device_id
        self.received: list[tuple[str, bytes]] = []
        self.connected = threading.Event()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self._folder = folder
        self._trusted = trusted
        self._client: mqtt.Client | None = None

    def csr(self) -> bytes:
        return make_csr(self.key)

    def connect(self, port: int, cert_der: bytes, client_id: str | None = None) -> "Device":
        stem = self._folder / self.id
        stem.with_suffix(".crt").write_bytes(pem(cert_der, "CERTIFICATE"))
        stem.with_suffix(".key").write_bytes(key_pem(self.key))
        stem.with_suffix(".ca").write_bytes(self._trusted.ca_pem)
        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=self.id if client_id is None else client_id,
            reconnect_on_failure=False,
        )
        client.tls_set(
            str(stem.with_suffix(".ca")),
            str(stem.with_suffix(".crt")),
            str(stem.with_suffix(".key")),
        )
        client.will_set(f"v1/{self.id}/up/status", cbor2.dumps({"on": False}), 1, True)
        client.on_connect = lambda *_: self.connected.set()
        client.on_message = lambda _c, _u, m: self.received.append((m.topic, m.payload))
        self._client = client
        client.connect("127.0.0.1", port)
        client.loop_start()
        return self

    def say(self, kind: str, payload: object, retain: bool = False) -> None:
        raw = payload if isinstance(payload, bytes) else cbor2.dumps(payload, canonical=True)
        self.publish(f"v1/{self.id}/up/{kind}", raw, retain)

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        assert self._client
        self._client.publish(topic, payload, 1, retain).wait_for_publish(5)

    def listen(self, topic: str) -> None:
        assert self._client
        self._client.subscribe(topic, 1)

    def drop(self) -> None:
        """The link breaks: no DISCONNECT, so the broker sends the will."""
        assert self._client
        self._client.socket().close()
        self._client.loop_stop()

    def close(self) -> None:
        if self._client:
            self._client.disconnect()
            self._client.loop_stop()

    # --- the sentences of a well-behaved device

    def runs(self, release: str, version: str, confirmed: bool = True) -> None:
        self.say(
            "state",
            {
                "version": version,
                "slot": "a",
                "epoch": 0,
                "board": "sim",
                "release": bytes.fromhex(release),
                "confirmed": confirmed,
            },
            retain=True,
        )

    def update(self, step: str, release: str, **more: object) -> None:
        self.say(
            "event", {"t": "update", "b": {"s": step, "release": bytes.fromhex(release), **more}}
        )


def batch(
    boot: int, seq: int, rows: list[tuple[int, int]], start_ms: int, dated: bool = True
) -> bytes:
    """A packed batch of (temperature, pressure), a second apart."""
    found = record.Batch(record.schema_id(SCHEMA), boot, seq)
    found.dated = dated
    found.times = [start_ms + 1000 * index for index in range(len(rows))]
    found.columns = [[row[0] for row in rows], [row[1] for row in rows]]
    found.quality = [[0] * len(rows), [0] * len(rows)]
    return record.encode(found)
