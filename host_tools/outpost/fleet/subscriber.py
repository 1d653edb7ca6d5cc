"""The fleet's own MQTT client: every `up` message into ingest, commands out.

Invariants: a message is acknowledged to the broker only after the transaction that stored it, and
the session is persistent, so what a device saw acknowledged reaches the registry even if this
process dies in between; twice at worst, which ingest notices.  The queue between the network
thread and the writer is bounded: when it is full, TCP pushes back.
"""

import contextlib
import logging
import queue
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as mqtt

from outpost.fleet.broker import DROPPED_TOPIC
from outpost.fleet.files import write_private
from outpost.fleet.ingest import Ingest, Message
from outpost.fleet.observation import Observation
from outpost.fleet.payload import MAX_BYTES, PayloadError
from outpost.fleet.pki import Credentials, pem
from outpost.fleet.registry import Registry

CLIENT_ID = "_ingest"
MAX_BATCH = 500
MAX_QUEUE = 5_000
KEEPALIVE_S = 30
_RETRY_S = 0.5
_log = logging.getLogger(__name__)


class Subscriber:
    """start, publish(topic, payload), stop; `on_observations` runs in the writer thread."""

    def __init__(
        self, registry: Registry, on_observations: Callable[[list[Observation]], None]
    ) -> None:
        self._registry = registry
        self._ingest = Ingest(registry)
        self._on_observations = on_observations
        self._queue: queue.Queue[mqtt.MQTTMessage | None] = queue.Queue(MAX_QUEUE)
        self._client: mqtt.Client | None = None
        self._writer: threading.Thread | None = None
        self._subscribed = threading.Event()
        self._stopping = False
        self.batches = 0
        self.dropped = 0

    def start(
        self, address: tuple[str, int], folder: Path, credentials: Credentials, ca_pem: bytes
    ) -> None:
        self._stopping = False
        self._writer = threading.Thread(target=self._write, name="ingest", daemon=True)
        self._writer.start()
        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=CLIENT_ID,
            clean_session=False,
            manual_ack=True,
        )
        client.tls_set_context(_tls_context(folder, credentials, ca_pem))
        client.max_inflight_messages_set(1000)
        client.reconnect_delay_set(1, 10)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        self._client = client
        host = "127.0.0.1" if address[0] == "0.0.0.0" else address[0]
        client.connect(host, address[1], KEEPALIVE_S)
        client.loop_start()

    def await_ready(self, timeout_s: float = 5.0) -> bool:
        return self._subscribed.wait(timeout_s)

    def stop(self) -> None:
        self._stopping = True
        if self._client:
            self._client.disconnect()
            # The broker may be gone already; the thread ends all the same.
            self._client.loop_stop()
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=0.5)
        if self._writer:
            self._writer.join(1.0)

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        if self._client:
            self._client.publish(topic, payload, qos=1, retain=retain)

    @property
    def backlog(self) -> int:
        return self._queue.qsize()

    def _on_connect(
        self,
        client: mqtt.Client,
        userdata: object,
        flags: object,
        reason: object,
        properties: object,
    ) -> None:
        client.subscribe([("v1/+/up/#", 1), (DROPPED_TOPIC, 0)])

    def _on_subscribe(
        self, client: mqtt.Client, userdata: object, mid: int, reasons: object, properties: object
    ) -> None:
        self._subscribed.set()

    def _on_message(
        self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage
    ) -> None:
        if message.topic == DROPPED_TOPIC:
            self.dropped = int(message.payload) if message.payload.isdigit() else self.dropped
            return
        while not self._stopping:
            with contextlib.suppress(queue.Full):
                self._queue.put(message, timeout=0.2)
                return

    # --- the writer thread

    def _write(self) -> None:
        while True:
            first = self._queue.get()
            batch = [first, *self._drain()]
            self._store_until_stored([item for item in batch if item is not None])
            if None in batch:
                return

    def _drain(self) -> list[mqtt.MQTTMessage | None]:
        batch: list[mqtt.MQTTMessage | None] = []
        with contextlib.suppress(queue.Empty):
            while len(batch) < MAX_BATCH:
                batch.append(self._queue.get_nowait())
        return batch

    def _store_until_stored(self, batch: list[mqtt.MQTTMessage]) -> None:
        """A full disk or a locked database passes; nothing is acknowledged until it has."""
        while batch:
            try:
                observations = self._store(batch)
                break
            except Exception:  # noqa: BLE001 - this thread must outlive any failure
                if self._stopping:
                    return
                time.sleep(_RETRY_S)
        else:
            return
        self.batches += 1
        for item in batch:
            if self._client and item.qos:
                self._client.ack(item.mid, item.qos)
        try:
            self._on_observations(observations)
        except Exception:  # noqa: BLE001 - what listeners do must not stop ingest
            _log.exception("a listener failed")

    def _store(self, batch: list[mqtt.MQTTMessage]) -> list[Observation]:
        now_ms = time.time_ns() // 1_000_000
        observations = []
        with self._registry.transaction():
            for item in batch:
                observations += self._accept(item, now_ms)
        return observations

    def _accept(self, item: mqtt.MQTTMessage, now_ms: int) -> list[Observation]:
        try:
            topic = item.topic
        except UnicodeDecodeError:
            topic = ""
        message = Message(topic, item.payload, now_ms, bool(item.retain))
        if len(item.payload) > MAX_BYTES:
            return self._ingest.refuse(message, PayloadError("too-large", f"{len(item.payload)}"))
        try:
            return self._ingest.accept(message)
        except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
            # A bug of ours must not stop the fleet: keep the message that shows it.
            return self._ingest.refuse(message, PayloadError("internal", repr(error)))


def _tls_context(folder: Path, credentials: Credentials, ca_pem: bytes) -> ssl.SSLContext:
    """OpenSSL reads a client's key from a file only; it stays in the broker's private folder."""
    path = folder / "ingest.pem"
    write_private(
        path, pem(credentials.key_der, "PRIVATE KEY") + pem(credentials.cert_der, "CERTIFICATE")
    )
    context = ssl.create_default_context(cadata=ca_pem.decode())
    context.load_cert_chain(path)
    return context
