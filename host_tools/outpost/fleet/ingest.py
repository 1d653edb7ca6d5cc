"""From a message of a device to rows of the registry.  No sockets, no threads: `accept` is called.

Invariants: nothing a device sends raises out of `accept`; what cannot be read is counted and kept
(`rejects`), what may not be sent is written to the security log; a message delivered twice changes
nothing the second time.  What rollouts have to know comes back as observations.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from node.core import record

from outpost.fleet import telemetry
from outpost.fleet.observation import Observation
from outpost.fleet.payload import PayloadError, jsonable, plain_map
from outpost.fleet.registry import (
    Device,
    Event,
    Registry,
    Reject,
    SecurityEvent,
    valid_device_id,
)
from outpost.fleet.telemetry import Samples

MAX_TOPIC = 200
MAX_SEQ = 2**32
MAX_AHEAD_MS = 86_400_000
MAX_CLOCK_ERROR_MS = 366 * 86_400_000
_MIN_UNIX_S = 1_735_689_600  # 2025-01-01: before it a clock was never set (rp2 starts in 2021)


@dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes
    received_ms: int
    retained: bool = False


class Ingest:
    """accept(message) -> observations; call it inside one registry transaction per batch."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._schemas: dict[str, telemetry.Schema] = {}
        self._kinds: dict[str, Callable[[Device, Message], list[Observation]]] = {
            "telemetry": self._telemetry,
            "event": self._event,
            "state": self._state,
            "status": self._status,
            "reply": self._reply,
            "log": self._log,
            "csr": self._csr,
        }

    def accept(self, message: Message) -> list[Observation]:
        device, kind = self._sender(message)
        if device is None:
            return []
        if not message.payload and message.retained:
            return []
        try:
            with self._registry.transaction():
                return self._kinds[kind](device, message)
        except PayloadError as error:
            self._reject(message, device.id, error)
            return []

    def refuse(self, message: Message, error: PayloadError) -> list[Observation]:
        """Count and keep a message that was not even looked at."""
        parts = message.topic.split("/")
        name = parts[1] if len(parts) > 1 and valid_device_id(parts[1]) else ""
        self._reject(message, name, error)
        return []

    def _sender(self, message: Message) -> tuple[Device | None, str]:
        parts = message.topic.split("/")
        if len(parts) != 4 or parts[0] != "v1" or parts[2] != "up" or parts[3] not in self._kinds:
            self.refuse(message, PayloadError("topic", "not a topic of this version"))
            return None, ""
        device = self._registry.devices.find(parts[1])
        if device is None or device.state != "active":
            kind = "unknown-device" if device is None else "retired-device"
            self._registry.journal.add_security(
                SecurityEvent(message.received_ms, kind, parts[1][:64], "", f"{parts[3]} ignored")
            )
            return None, ""
        return device, parts[3]

    def _reject(self, message: Message, device_id: str, error: PayloadError) -> None:
        self._registry.telemetry.count(device_id, "malformed")
        self._registry.journal.add_reject(
            Reject(
                message.received_ms,
                device_id,
                str(jsonable(message.topic))[:MAX_TOPIC],
                error.code,
                str(jsonable(error.detail))[:200],
                message.payload,
            )
        )

    def _alive(self, device: Device, message: Message) -> list[Observation]:
        """A retained message was sent some time ago: it says something, but not that now."""
        if message.retained:
            return []
        self._registry.devices.seen(device.id, message.received_ms, online=True)
        return [Observation(device.id, "seen", message.received_ms)]

    # --- telemetry

    def _telemetry(self, device: Device, message: Message) -> list[Observation]:
        samples = telemetry.read(message.payload, self._schema, message.received_ms)
        if samples.boot is not None:
            samples = self._only_new(
                device.id, self._dated(device.id, samples, message.received_ms)
            )
        every = [reading for row in samples.readings.values() for reading in row]
        self._registry.telemetry.store(device.id, every)
        self._registry.telemetry.count(device.id, "messages")
        return self._alive(device, message)

    def _schema(self, schema_id: str) -> telemetry.Schema | None:
        """By the whole digest's first 4 bytes, as batches carry it; schemas never change."""
        if schema_id not in self._schemas:
            document = self._registry.releases.schema(schema_id)
            if document is None:
                return None
            self._schemas[schema_id] = record.read_schema(document)
        return self._schemas[schema_id]

    def _dated(self, device_id: str, samples: Samples, now_ms: int) -> Samples:
        """Samples of a device that does not know the time, or is sure of a wrong one, are dated
        by what is known of that boot, else as if the last of them had just been taken."""
        last_ms = max((r.ts_ms for row in samples.readings.values() for r in row), default=0)
        offset = None
        if samples.dated:
            if _MIN_UNIX_S * 1000 <= last_ms <= now_ms + MAX_AHEAD_MS:
                return samples
            self._registry.telemetry.count(device_id, "redated", samples.count)
        elif samples.boot is not None:
            offset = self._registry.telemetry.clock(device_id, samples.boot)
        shift = now_ms - last_ms if offset is None else offset
        return replace(
            samples,
            readings={
                seq: [replace(reading, ts_ms=max(0, reading.ts_ms + shift)) for reading in row]
                for seq, row in samples.readings.items()
            },
        )

    def _only_new(self, device_id: str, samples: Samples) -> Samples:
        assert samples.boot is not None
        fresh = self._registry.telemetry.claim(
            device_id, samples.boot, samples.first, samples.last
        )
        new = {
            seq: row
            for seq, row in samples.readings.items()
            if any(first <= seq <= last for first, last in fresh)
        }
        count = self._registry.telemetry.count
        count(device_id, "received", len(new))
        count(device_id, "duplicates", samples.count - len(new))
        # Records the device left out on purpose (a thinned outbox) are no loss, but are counted.
        booked = sum(last - first + 1 for first, last in fresh)
        count(device_id, "thinned", booked - len(new))
        return replace(samples, readings=new)

    # --- the rest of what a device says

    def _event(self, device: Device, message: Message) -> list[Observation]:
        body = plain_map(message.payload)
        kind = body.get("t")
        if not isinstance(kind, str) or not kind or not isinstance(body.get("b", {}), dict):
            raise PayloadError("event-shape", "an event has a type and a map")
        boot, seq = _index(body, "boot"), _index(body, "seq")
        self._learn_clock(device.id, body, message)
        event = Event(
            device.id,
            kind[:32],
            jsonable(body.get("b", {})),
            boot,
            seq,
            _unix_ms(body),
            message.received_ms,
        )
        new = self._registry.journal.add_event(event)
        if kind == "boot" and new:
            self._registry.devices.booted(
                device.id, boot, _text(event.body.get("reset") or event.body.get("cause"))
            )
        if kind == "command" and new:
            self._never_finished(device.id, event)
        observed = self._alive(device, message)
        if new and kind in ("update", "evidence", "boot"):
            observed.append(Observation(device.id, kind, message.received_ms, event.body))
        return observed

    def _never_finished(self, device_id: str, event: Event) -> None:
        """The device was reset in the middle of a command, and will not run it again."""
        command_id = event.body.get("id")
        if isinstance(command_id, str):
            self._registry.commands.replied(
                device_id, command_id, False, event.body, event.received_ms
            )

    def _learn_clock(self, device_id: str, body: dict[str, Any], message: Message) -> None:
        boot, up_ms = _index(body, "boot"), body.get("up")
        if boot is None or message.retained or type(up_ms) is not int or not 0 <= up_ms < 2**48:
            return
        told_ms = _unix_ms(body)
        at_ms = message.received_ms if told_ms is None else told_ms
        if abs(at_ms - message.received_ms) < MAX_CLOCK_ERROR_MS:
            certain = told_ms is not None
            self._registry.telemetry.learn_clock(device_id, boot, at_ms - up_ms, certain)

    def _state(self, device: Device, message: Message) -> list[Observation]:
        body = jsonable(plain_map(message.payload))
        self._registry.devices.report(device.id, body)
        kind = "state-retained" if message.retained else "state"
        observed = self._alive(device, message)
        return [*observed, Observation(device.id, kind, message.received_ms, body)]

    def _status(self, device: Device, message: Message) -> list[Observation]:
        body = plain_map(message.payload)
        if body.get("on") is False:
            self._registry.devices.gone(device.id)
            return []
        if not message.retained:
            self._registry.devices.heartbeat(device.id, jsonable(body), message.received_ms)
            self._registry.devices.booted(device.id, _index(body, "boot"), _text(body.get("rst")))
            if type(body.get("up")) is int:  # a heartbeat's uptime is in seconds
                self._learn_clock(device.id, {**body, "up": body["up"] * 1000}, message)
        return self._alive(device, message)

    def _reply(self, device: Device, message: Message) -> list[Observation]:
        body = jsonable(plain_map(message.payload))
        if not isinstance(body.get("id"), str):
            raise PayloadError("reply-shape", "a reply has the command's id")
        answered = self._registry.commands.replied(
            device.id, body["id"], body.get("ok") is True, body, message.received_ms
        )
        observed = self._alive(device, message)
        if answered:
            observed.append(Observation(device.id, "reply", message.received_ms, body))
        return observed

    def _log(self, device: Device, message: Message) -> list[Observation]:
        text = str(jsonable(message.payload.decode("utf-8", "replace")))
        self._registry.journal.add_event(
            Event(device.id, "log", {"text": text[:8192]}, received_ms=message.received_ms)
        )
        return self._alive(device, message)

    def _csr(self, device: Device, message: Message) -> list[Observation]:
        observed = self._alive(device, message)
        return [
            *observed,
            Observation(device.id, "csr", message.received_ms, {"csr": message.payload}),
        ]


def _index(body: dict[str, Any], key: str) -> int | None:
    value = body.get(key)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < MAX_SEQ:
        raise PayloadError("event-shape", f"{key} is not a number of 32 bits")
    return value


def _unix_ms(body: dict[str, Any]) -> int | None:
    value = body.get("ts")
    return value * 1000 if type(value) is int and _MIN_UNIX_S <= value < 2**40 else None


def _text(value: object) -> str | None:
    return str(value)[:64] if value is not None else None
