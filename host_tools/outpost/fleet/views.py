"""Rows of the registry as JSON, the one form that API, pages and command line share."""

import dataclasses
import time
from typing import Any

from outpost.fleet.registry import (
    AuditLine,
    Command,
    Desired,
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
_MAX_NEXT_S = 30 * 86_400
Json = dict[str, Any]


def reading(item: Reading) -> Json:
    return {
        "metric": item.metric,
        "ts_ms": item.ts_ms,
        "value": item.value,
        "text": item.text,
        "unit": item.unit,
    }


def presence(device: Device, now_ms: int) -> str:
    """ "online", "offline", or "asleep": a battery node says with each goodbye in how many seconds
    it is to connect again (`next`). It is offline when it has missed three of these.
    """
    if not device.online:
        return "offline"
    next_s = device.heartbeat.get("next")
    if type(next_s) is not int or not 0 < next_s <= _MAX_NEXT_S:
        return "online"
    since_ms = now_ms - (device.last_seen_ms or 0)
    return "offline" if since_ms > 3000 * next_s + QUIET_AFTER_MS else "asleep"


def alarms(device: Device, now_ms: int) -> list[str]:
    """What an operator should look at, worst first."""
    if device.state != "active":
        return []
    found = []
    if device.last_seen_ms is None:
        found.append("never seen")
    elif presence(device, now_ms) == "offline" and now_ms - device.last_seen_ms > QUIET_AFTER_MS:
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
    body["presence"] = presence(item, now_ms)
    body["alarms"] = alarms(item, now_ms)
    return body


def devices(registry: Registry) -> list[Json]:
    latest, now_ms = registry.telemetry.latest(), time.time_ns() // 1_000_000
    return [device(item, latest.get(item.id, {}), now_ms) for item in registry.devices.all()]


def one_device(registry: Registry, device_id: str) -> Json:
    item = registry.devices.get(device_id)
    latest = registry.telemetry.latest(device_id).get(device_id, {})
    flow = registry.telemetry.flow(device_id)
    certificates = registry.certificates.of(device_id)
    return {
        **device(item, latest, time.time_ns() // 1_000_000),
        "settings": settings(registry.desired.of(device_id), item.reported),
        "certificates": [dataclasses.asdict(found) for found in certificates],
        "flow": dataclasses.asdict(flow),
        "thinned": registry.telemetry.counter("thinned", device_id),
        "malformed": registry.telemetry.counter("malformed", device_id),
    }


def settings(wanted: Desired, reported: Json) -> Json:
    """Desired against reported. `state`: none, in step, partly, refused, rolled back or waiting;
    `rows` have the reason where a setting is not as it was asked for."""
    told = reported.get("desired")
    told = told if isinstance(told, dict) else {}
    in_force = _map(told.get("set"))
    reasons = _map(told.get("rejected")) if told.get("seen") == wanted.version else {}
    rows = []
    for name in sorted({*wanted.settings, *in_force}):
        asked, has = wanted.settings.get(name), in_force.get(name)
        why = reasons.get(name) or ("" if asked == has else "waiting")
        rows.append({"name": name, "desired": asked, "reported": has, "why": str(why)[:32]})
    return {
        "version": wanted.version,
        "issued_ms": wanted.issued_ms or None,
        "reported_version": told.get("v", 0),
        "state": _step(wanted, told),
        "rows": rows,
    }


def _step(wanted: Desired, told: Json) -> str:
    if not wanted.version:
        return "none"
    if told.get("seen") == wanted.version and told.get("code") in ("rejected", "rolled_back"):
        return "rolled back" if told["code"] == "rolled_back" else "refused"
    if told.get("v") != wanted.version:
        return "waiting"
    return "partly" if told.get("rejected") else "in step"


def settings_summary(registry: Registry) -> dict[str, int]:
    """How many devices are in step with what is wanted of them."""
    devices = {item.id: item for item in registry.devices.all() if item.state == "active"}
    counts: dict[str, int] = {}
    for wanted in registry.desired.all():
        if wanted.device in devices:
            state = _step(wanted, _map(devices[wanted.device].reported.get("desired")))
            counts[state] = counts.get(state, 0) + 1
    return counts


def _map(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


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
    present = [presence(item, now_ms) for item in every]
    return {
        "devices": len(every),
        "online": present.count("online"),
        "asleep": present.count("asleep"),
        "active": sum(item.state == "active" for item in every),
        "alarms": sum(bool(alarms(item, now_ms)) for item in every),
        "received": flow.received,
        "duplicates": flow.duplicates,
        "lost": flow.lost,
        "malformed": registry.telemetry.counter("malformed"),
        "security": len(registry.journal.security(limit=1000)),
    }
