"""What a device is told at provisioning: /data/device.cbor, and the station's own settings.

Owns their form and where secrets come from: Wi-Fi passwords are read from a TOML file that only
its owner may read, or from the environment; they are in no argument, no log, no repr and not in
the journal.
"""

import os
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loader import cbor

from outpost.errors import ExitCode, OutpostError

PSK_ENV = "OUTPOST_WIFI_PSK"


@dataclass(frozen=True)
class Wifi:
    """A network; the password stays out of the repr."""

    ssid: str
    psk: str = field(default="", repr=False)


@dataclass(frozen=True)
class DeviceSettings:
    """Where a device connects, fetches releases and learns the time."""

    broker_host: str
    broker_port: int
    update_url: str
    wifi: tuple[Wifi, ...] = ()
    ntp: tuple[str, ...] = ()
    head: str = ""
    """Name of the head it follows; its own id when empty."""

    def encode(self, device_id: str) -> bytes:
        """/data/device.cbor for this device."""
        return cbor.encode(
            {
                "id": device_id,
                "broker": {"host": self.broker_host, "port": self.broker_port},
                "update": {"url": self.update_url, "head": self.head or device_id},
                "wifi": [{"ssid": net.ssid, "psk": net.psk} for net in self.wifi],
                "ntp": list(self.ntp),
            }
        )


def load_settings(path: Path) -> DeviceSettings:
    """Read a site file::

    broker = { host = "broker.example", port = 8883 } update = { url = "https://…/update", head =
    "stable" }    # head: the device's own id if left out wifi = [{ ssid = "factory", psk = "…" }]
    # psk may come from OUTPOST_WIFI_PSK instead ntp = ["pool.example"]
    """
    try:
        raw = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise _invalid(
            path, "not found", "write one; `outpost provision --help` shows its form"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise _invalid(path, f"not TOML: {error}", "correct it") from None
    unknown = set(raw) - {"broker", "update", "wifi", "ntp"}
    if unknown:
        raise _invalid(
            path, f"unknown key {sorted(unknown)[0]}", "known: broker, update, wifi, ntp"
        )
    networks = tuple(_network(path, row) for row in _typed(path, raw, "wifi", list, []))
    if any(net.psk for net in networks) and not os.environ.get(PSK_ENV):
        _refuse_readable(path)
    broker = _typed(path, raw, "broker", dict)
    update = _typed(path, raw, "update", dict)
    return DeviceSettings(
        broker_host=_typed(path, broker, "host", str),
        broker_port=_typed(path, broker, "port", int, 8883),
        update_url=_typed(path, update, "url", str),
        head=_typed(path, update, "head", str, ""),
        wifi=networks,
        ntp=tuple(str(host) for host in _typed(path, raw, "ntp", list, [])),
    )


def _network(path: Path, row: Any) -> Wifi:
    if not isinstance(row, dict):
        raise _invalid(
            path, "wifi holds something that is no table", 'write { ssid = "…", psk = "…" }'
        )
    psk = os.environ.get(PSK_ENV) or _typed(path, row, "psk", str, "")
    return Wifi(_typed(path, row, "ssid", str), psk)


def _refuse_readable(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        raise _invalid(path, "holds a password and others can read it", f"chmod 600 {path}")


def _typed(path: Path, table: dict[str, Any], name: str, kind: type, default: Any = None) -> Any:
    value = table.get(name, default)
    if type(value) is not kind:
        raise _invalid(
            path, f"{name} is missing or of the wrong type", f"{name} must be {kind.__name__}"
        )
    return value


def _invalid(path: Path, what: str, fix: str) -> OutpostError:
    return OutpostError("site-invalid", f"{path}: {what}", fix, ExitCode.USAGE)
