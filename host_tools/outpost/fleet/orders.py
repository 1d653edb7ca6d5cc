"""What a fleet asks of a device: commands, and the settings it is to have.

Invariants: a command is in the registry before it is sent; what destroys something is sent only
with a document that an ops key has signed for this very command, and the fleet has no such key; a
device's desired state has a version that only rises, also above what the device itself has seen.
"""

import secrets
import time
from collections.abc import Mapping
from typing import Any, Protocol

from loader import cbor, trust
from loader.cbor import VerifyError

from outpost.errors import ExitCode, OutpostError
from outpost.fleet.fleet import Fleet, now_ms
from outpost.fleet.registry import Command, Desired, Device

DESTRUCTIVE = ("wipe", "decommission")
SET_CONFIG = "set-config"
MAX_SETTINGS = 32
MAX_NAME = 32
MAX_INT = 2**31 - 1


class Send(Protocol):
    def __call__(self, topic: str, payload: bytes, retain: bool = False) -> None: ...


class Orders:
    """`send` reaches the broker, which keeps what it is given while the device sleeps."""

    def __init__(self, fleet: Fleet, send: Send) -> None:
        self._fleet = fleet
        self._registry = fleet.registry
        self._send = send

    # --- commands

    def command(
        self, device_id: str, cmd: str, args: Mapping[str, Any], ttl_s: int, actor: str = ""
    ) -> Command:
        """Send a command; its answer is stored by ingest. `actor`: for the audit."""
        if cmd in DESTRUCTIVE:
            raise OutpostError(
                "ops-missing",
                f"{cmd} needs a document signed by an ops key",
                "make one with `outpost sign ops`, and pass it with --ops",
                ExitCode.NOT_AUTHORISED,
            )
        self._active(device_id)
        issued_ms = now_ms()
        if cmd == SET_CONFIG:
            args = self._as_desired(device_id, args, actor)
        command = Command(
            secrets.token_hex(8), device_id, cmd, dict(args), issued_ms, issued_ms + ttl_s * 1000
        )
        self._issue(command, {}, actor)
        if cmd == SET_CONFIG:
            self._publish_desired(self._registry.desired.of(device_id))
        return command

    def signed(self, device_id: str, cmd: str, document: bytes, actor: str = "") -> Command:
        """Send a command that an ops key has signed: its id and its expiry are the document's."""
        self._active(device_id)
        ops = self._verified(device_id, cmd, document)
        if self._registry.commands.get(ops["id"]):
            raise OutpostError(
                "ops-used",
                f"command {ops['id']} has been sent before",
                "sign another, with an id of its own",
                ExitCode.ALREADY_DONE,
            )
        command = Command(ops["id"], device_id, cmd, {}, now_ms(), ops["expires"] * 1000)
        self._issue(command, {"ops": document}, actor)
        return command

    def _active(self, device_id: str) -> Device:
        device = self._registry.devices.get(device_id)
        if device.state != "active":
            raise OutpostError(
                "not-active", f"{device_id} is {device.state}", None, ExitCode.REFUSED
            )
        return device

    def _verified(self, device_id: str, cmd: str, document: bytes) -> dict[str, Any]:
        """As the device will do it: what it would refuse is not sent."""
        try:
            root = trust.stored_root(self._fleet.root)
            ops: dict[str, Any] = trust.read_ops(root, document, device_id, int(time.time()))
        except VerifyError as error:
            raise OutpostError(
                error.code,
                f"the device would refuse this document: {error.code}",
                "sign it for this device with an ops key of the trust root",
                ExitCode.VERIFICATION_FAILED,
            ) from None
        if ops["command"] != cmd or not 0 < len(ops["id"]) <= 40:
            raise OutpostError(
                "ops-other",
                f"the document is for {ops['command']}, not for {cmd}",
                None,
                ExitCode.VERIFICATION_FAILED,
            )
        return ops

    def _issue(self, command: Command, more: dict[str, Any], actor: str) -> None:
        body = {
            "id": command.id,
            "cmd": command.cmd,
            "args": _for_device(command.cmd, command.args),
            "exp": command.expires_ms // 1000,
            **more,
        }
        try:
            payload = cbor.encode(body)
        except (TypeError, ValueError) as error:
            raise OutpostError(
                "command-args",
                f"a device cannot read these arguments: {error}",
                "use whole numbers, text, lists and maps",
                ExitCode.USAGE,
            ) from None
        with self._registry.transaction():
            self._registry.commands.add(command)
            if actor:
                detail = {"id": command.id, "cmd": command.cmd}
                self._registry.audit.add(
                    command.issued_ms, actor, "command", command.device, detail
                )
        self._send(f"v1/{command.device}/down/command", payload)

    # --- desired state

    def desire(
        self, device_id: str, changes: Mapping[str, int | None], actor: str = "local"
    ) -> Desired:
        """Change what is wanted of a device; None takes a setting back to the product's own."""
        self._active(device_id)
        desired = self._merge(device_id, changes, actor)
        self._publish_desired(desired)
        return desired

    def _merge(self, device_id: str, changes: Mapping[str, int | None], actor: str) -> Desired:
        before = self._registry.desired.of(device_id)
        settings = dict(before.settings)
        for name, value in changes.items():
            _check(name, value)
            settings.pop(name, None)
            if value is not None:
                settings[name] = value
        if len(settings) > MAX_SETTINGS:
            raise OutpostError("settings", "too many settings", None, ExitCode.USAGE)
        version = 1 + max(before.version, self._seen_by_device(device_id))
        desired = Desired(device_id, version, settings, now_ms(), actor)
        with self._registry.transaction():
            self._registry.desired.save(desired)
            detail = {"version": version, "changes": dict(changes)}
            self._registry.audit.add(desired.issued_ms, actor, "desired", device_id, detail)
        return desired

    def _as_desired(self, device_id: str, args: Mapping[str, Any], actor: str) -> dict[str, Any]:
        """`set-config` is desired state that is answered: the registry knows it first."""
        changes = args.get("set")
        if not isinstance(changes, dict):
            raise OutpostError("settings", "set-config has a map `set`", None, ExitCode.USAGE)
        desired = self._merge(device_id, changes, actor or "local")
        return {"v": desired.version, "set": desired.settings}

    def _seen_by_device(self, device_id: str) -> int:
        reported = self._registry.devices.get(device_id).reported.get("desired")
        found = reported if isinstance(reported, dict) else {}
        return max((found[key] for key in ("v", "seen") if type(found.get(key)) is int), default=0)

    def _publish_desired(self, desired: Desired) -> None:
        payload = cbor.encode({"v": desired.version, "set": desired.settings})
        self._send(f"v1/{desired.device}/down/desired", payload, retain=True)

    def remind(self) -> None:
        """Give the broker all desired state again: one that was killed may have lost it."""
        active = {device.id for device in self._registry.devices.all() if device.state == "active"}
        for desired in self._registry.desired.all():
            if desired.device in active:
                self._publish_desired(desired)

    def forget(self, device_id: str) -> None:
        """A device that has left wants nothing any more."""
        if self._registry.desired.of(device_id).version:
            self._registry.desired.forget(device_id)
            self._send(f"v1/{device_id}/down/desired", b"", retain=True)


def _check(name: object, value: object) -> None:
    good = isinstance(name, str) and 0 < len(name) <= MAX_NAME
    if not good or not (value is None or (type(value) is int and abs(value) <= MAX_INT)):
        raise OutpostError(
            "settings",
            f"{str(name)[:MAX_NAME]!r} cannot be {value!r}: a setting is a whole number",
            "docs/reference/commands.md lists them",
            ExitCode.USAGE,
        )


def _for_device(cmd: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no byte strings: a release's digest is written in hex."""
    found = dict(args)
    release = found.get("release")
    if cmd == "defer-update" and isinstance(release, str):
        try:
            found["release"] = bytes.fromhex(release)
        except ValueError:
            raise OutpostError(
                "command-args", "release is a digest in hex", None, ExitCode.USAGE
            ) from None
    return found
