"""What a device is told at provisioning: /data/device.cbor, and the station's own settings.

Owns their form. Where a device's network and its secrets come from is `network`'s; they are not in
the journal either.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from loader import cbor

from outpost.factory import network
from outpost.factory.network import Network, Reader, Wifi

_KEYS = ("broker", "update", "ntp", *network.KEYS)


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
    network: Network = field(default_factory=Network)

    def encode(self, device_id: str) -> bytes:
        """/data/device.cbor for this device."""
        return cbor.encode(
            {
                "id": device_id,
                "broker": {"host": self.broker_host, "port": self.broker_port},
                "update": {"url": self.update_url, "head": self.head or device_id},
                "wifi": [net.told() for net in self.wifi],
                "ntp": list(self.ntp),
                **self.network.told(),
            }
        )


def load_settings(path: Path) -> DeviceSettings:
    """Read a site file::

        broker = { host = "broker.example", port = 8883 }
        update = { url = "https://fleet.example/update", head = "stable" }
        ntp = ["pool.example"]
        wifi = [{ ssid = "plant", psk = "...", priority = 2 }, { ssid = "yard", hidden = true }]

    `head` is the device's own id when it is left out; a `psk` that is left out comes from
    OUTPOST_WIFI_PSK. `outpost.factory.network` has the other keys.
    """
    raw, reader = read_site(path)
    unknown = sorted(set(raw) - set(_KEYS))
    if unknown:
        raise reader.invalid(f"unknown key {unknown[0]}", "known: " + ", ".join(_KEYS))
    wifi = reader.wifi()
    broker = reader.typed(raw, "broker", dict)
    update = reader.typed(raw, "update", dict)
    return DeviceSettings(
        broker_host=reader.typed(broker, "host", str),
        broker_port=reader.typed(broker, "port", int, 8883),
        update_url=reader.typed(update, "url", str),
        head=reader.typed(update, "head", str, ""),
        wifi=wifi,
        ntp=tuple(str(host) for host in reader.typed(raw, "ntp", list, [])),
        network=reader.network(),
    )


def read_site(path: Path) -> tuple[dict[str, object], Reader]:
    """A TOML file, and what takes the network part of it."""
    reader = Reader(path, {})
    try:
        raw = tomllib.loads(path.read_text())
    except FileNotFoundError:
        fix = "write one; `outpost provision --help` shows its form"
        raise reader.invalid("not found", fix) from None
    except tomllib.TOMLDecodeError as error:
        raise reader.invalid(f"not TOML: {error}", "correct it") from None
    return raw, Reader(path, raw)
