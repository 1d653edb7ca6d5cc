"""Rows of the registry as JSON, the one form that API, pages and command line share."""

import dataclasses
import time
from typing import Any

from outpost.fleet.registry import (
    AuditLine,
    Command,
    Device,
    Event,
    Reading,
    Registry,
    Reject,
    Release,
    SecurityEvent,
)

QUIET_AFTER_MS = 15 * 60_000
LOW_BATTERY_MV = 3_300
Json = dict[str, Any]


def reading(item: Reading) -> Json:
    return {
        "metric": item.metric,
        "ts_ms": item.ts_ms,
        "value": item.value,
        "text": item.text,
        "unit": item.unit,
    }


def alarms(device: Device, now_ms: int) -> list[str]:
    """What an operator should look at, worst first."""
    if device.state != "active":
        return []
    found = []
    if device.last_seen_ms is None:
        found.append("never seen")
    elif not device.online and now_ms - device.last_seen_ms > QUIET_AFTER_MS:
        found.append("silent")
    if device.release and not device.confirmed:
        found.append("on trial")
    battery = device.heartbeat.get("bat")
    if isinstance(battery, int) and 0 < battery < LOW_BATTERY_MV:
        found.append("battery low")
    if device.heartbeat.get("frozen"):
        found.append("head expired")
    return found


def device(item: Device, latest: dict[str, Reading], now_ms: int) -> Json:
    body = dataclasses.asdict(item)
    body["latest"] = [reading(entry) for entry in latest.values()]
    body["alarms"] = alarms(item, now_ms)
    return body


def devices(registry: Registry) -> list[Json]:
    latest, now_ms = registry.telemetry.latest(), time.time_ns() // 1_000_000
    return [device(item, latest.get(item.id, {}), now_ms) for item in registry.devices.all()]


def one_device(registry: Registry, device_id: str) -> Json:
    item = registry.devices.get(device_id)
    latest = registry.telemetry.latest(device_id).get(device_id, {})
    flow = registry.telemetry.flow(device_id)
    return {
        **device(item, latest, time.time_ns() // 1_000_000),
        "flow": dataclasses.asdict(flow),
        "thinned": registry.telemetry.counter("thinned", device_id),
        "malformed": registry.telemetry.counter("malformed", device_id),
    }


def event(item: Event) -> Json:
    return dataclasses.asdict(item)


def security(item: SecurityEvent) -> Json:
    return dataclasses.asdict(item)


def command(item: Command) -> Json:
    return dataclasses.asdict(item)


def audit(item: AuditLine) -> Json:
    return dataclasses.asdict(item)


def reject(item: Reject) -> Json:
    return {**dataclasses.asdict(item), "payload": item.payload.hex()}


def release(item: Release) -> Json:
    return {
        "digest": item.digest,
        "product": item.product,
        "version": item.version,
        "epoch": item.epoch,
        "published_ms": item.published_ms,
        "boards": sorted(item.payload.get("boards", {})),
        "files": len(item.payload.get("files", [])),
        "bytes": sum(entry[1] for entry in item.payload.get("files", [])),
        "source": item.payload.get("source", ""),
        "document_bytes": len(item.document),
    }


def summary(registry: Registry) -> Json:
    """The figures above the fleet table."""
    every = registry.devices.all()
    now_ms = time.time_ns() // 1_000_000
    flow = registry.telemetry.flow()
    return {
        "devices": len(every),
        "online": sum(item.online for item in every),
        "active": sum(item.state == "active" for item in every),
        "alarms": sum(bool(alarms(item, now_ms)) for item in every),
        "received": flow.received,
        "duplicates": flow.duplicates,
        "lost": flow.lost,
        "malformed": registry.telemetry.counter("malformed"),
        "security": len(registry.journal.security(limit=1000)),
    }
