"""How a device gets onto its network: what a site file says, and how USB changes it later.

Owns the network part of /data/device.cbor (core/wifi.py and parts/online.py of the node read it)
and where its secrets come from: a TOML file that only its owner may read, the environment, or a
question on the terminal. They are in no argument, no log and no repr, and are never read back
from a board.
"""

import ipaddress
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from outpost.errors import ExitCode, OutpostError
from outpost.factory.link import BoardError, Link

PSK_ENV = "OUTPOST_WIFI_PSK"
POWER_SAVE = ("none", "performance", "powersave")
KEYS = ("wifi", "country", "power_save", "static", "dns", "probe")
_WIFI_KEYS = {"ssid", "psk", "priority", "hidden", "static"}
_MOST_NETWORKS = 8  # node.core.wifi


@dataclass(frozen=True)
class Wifi:
    """A network; the password stays out of the repr. `static` is address, mask, gateway and DNS
    server; DHCP when empty. The highest priority in reach is joined first.
    """

    ssid: str
    psk: str = field(default="", repr=False)
    priority: int = 0
    hidden: bool = False
    static: tuple[str, ...] = ()

    def told(self) -> dict[str, Any]:
        """What device.cbor says of it."""
        more: dict[str, Any] = {"prio": self.priority} if self.priority else {}
        more |= {"hidden": True} if self.hidden else {}
        more |= {"static": list(self.static)} if self.static else {}
        return {"ssid": self.ssid, "psk": self.psk, **more}


@dataclass(frozen=True)
class Network:
    """What is true of the device wherever it is. `country` is ISO 3166-1 alpha-2; `static` is for
    Ethernet; `dns` are asked before DHCP's server; `probe` replaces the product's URL that shows
    captive portals.
    """

    country: str = ""
    power_save: str = ""
    static: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    probe: str = ""

    def told(self) -> dict[str, Any]:
        """The keys of device.cbor that say more than the defaults."""
        names = {"country": self.country, "pm": self.power_save, "probe": self.probe}
        lists = {"static": list(self.static), "dns": list(self.dns)}
        return {name: value for name, value in {**names, **lists}.items() if value}


class Reader:
    """Takes the network part of a TOML file; says of what is wrong where it is."""

    def __init__(self, path: Path, raw: Mapping[str, Any]) -> None:
        self._path = path
        self._raw = raw

    def invalid(self, what: str, fix: str) -> OutpostError:
        return OutpostError("site-invalid", f"{self._path}: {what}", fix, ExitCode.USAGE)

    def typed(self, table: Mapping[str, Any], name: str, kind: type, default: Any = None) -> Any:
        value = table.get(name, default)
        if type(value) is not kind:
            wanted = f"{name} must be {kind.__name__}"
            raise self.invalid(f"{name} is missing or of the wrong type", wanted)
        return value

    def wifi(self) -> tuple[Wifi, ...]:
        rows = self.typed(self._raw, "wifi", list, [])
        if len(rows) > _MOST_NETWORKS:
            raise self.invalid(f"{len(rows)} networks", f"name {_MOST_NETWORKS} at most")
        found = tuple(self._wifi(row) for row in rows)
        if any(isinstance(row, dict) and row.get("psk") for row in rows):
            self._refuse_readable()
        return found

    def _wifi(self, row: Any) -> Wifi:
        if not isinstance(row, dict):
            raise self.invalid("wifi holds something that is no table", 'write { ssid = "…" }')
        unknown = sorted(set(row) - _WIFI_KEYS)
        if unknown:
            known = ", ".join(sorted(_WIFI_KEYS))
            raise self.invalid(f"unknown key wifi.{unknown[0]}", f"known: {known}")
        ssid = self.typed(row, "ssid", str)
        psk = self.typed(row, "psk", str, os.environ.get(PSK_ENV, ""))
        check_credentials(ssid, psk)
        return Wifi(
            ssid,
            psk,
            self.typed(row, "priority", int, 0),
            self.typed(row, "hidden", bool, False),
            self._addresses(row, "static", 4),
        )

    def network(self) -> Network:
        raw = self._raw
        country = self.typed(raw, "country", str, "")
        if country and not (len(country) == 2 and country.isalpha() and country.isupper()):
            raise self.invalid(f"country is {country!r}", 'two capital letters, such as "DE"')
        power_save = self.typed(raw, "power_save", str, "")
        if power_save not in ("", *POWER_SAVE):
            raise self.invalid(f"power_save is {power_save!r}", "use " + ", ".join(POWER_SAVE))
        probe = self.typed(raw, "probe", str, "")
        if probe and not probe.startswith("http://"):
            raise self.invalid(f"probe is {probe!r}", "only http:// shows a captive portal")
        static = self._addresses(raw, "static", 4)
        return Network(country, power_save, static, self._addresses(raw, "dns"), probe)

    def _addresses(self, table: Mapping[str, Any], name: str, count: int = 0) -> tuple[str, ...]:
        found = tuple(self.typed(table, name, list, []))
        try:
            for address in found:
                ipaddress.IPv4Address(address)
        except (ValueError, TypeError):
            raise self.invalid(f"{name} holds {address!r}", "write IPv4 addresses") from None
        if found and count and len(found) != count:
            raise self.invalid(f"{name} has {len(found)} parts", "address, mask, gateway, DNS")
        return found

    def _refuse_readable(self) -> None:
        mode = stat.S_IMODE(self._path.stat().st_mode)
        if os.name == "posix" and mode & 0o077:
            fix = f"chmod 600 {self._path}"
            raise self.invalid("holds a password and others can read it", fix)


def check_credentials(ssid: str, psk: str) -> None:
    """What the node's policy would leave out without a word; the password is in no message."""
    if not 0 < len(ssid.encode()) <= 32:
        message = f"{ssid!r} is no network name"
        raise OutpostError("site-invalid", message, "1 to 32 bytes", ExitCode.USAGE)
    if psk and not 8 <= len(psk) <= 64:
        message = f"the password of {ssid!r} has {len(psk)} characters"
        raise OutpostError("site-invalid", message, "WPA wants 8 to 64", ExitCode.USAGE)


@dataclass(frozen=True)
class Change:
    """What to write into a device that has its identity already. `add` keeps the networks that it
    knows and that are not named here.
    """

    wifi: tuple[Wifi, ...] = ()
    network: Network = field(default_factory=Network)
    add: bool = False


# Only the loader is imported: whatever the slots hold, a board can be told its network.
_APPLY = """
import sys
sys.path[:] = ['.frozen', '/outpost']
import os
from loader import cbor
def _apply(wifi, more, add):
    with open('/data/device.cbor', 'rb') as f:
        m = cbor.decode(f.read())
    if wifi:
        names = [n['ssid'] for n in wifi]
        kept = [n for n in m.get('wifi', []) if n['ssid'] not in names] if add else []
        m['wifi'] = wifi + kept
    m.update(more)
    with open('/data/device.cbor.tmp', 'wb') as f:
        f.write(cbor.encode(m))
    os.rename('/data/device.cbor.tmp', '/data/device.cbor')
    try:
        os.remove('/data/ap.cbor')
    except OSError:
        pass
    return m['id'], [n['ssid'] for n in m.get('wifi', [])]
"""


def apply(link: Link, change: Change) -> tuple[str, tuple[str, ...]]:
    """Write it and reset the board: its id, and the networks that it knows now. The file is the
    old or the new one after a cut, and the change may be made again.
    """
    wifi = [entry.told() for entry in change.wifi]
    call = f"print(_apply({wifi!r}, {change.network.told()!r}, {change.add!r}))\n"
    try:
        device_id, names = link.ask("writing the network", _APPLY + call)
    except BoardError as error:
        if "ENOENT" not in error.traceback:
            raise
        message = "the board has no settings yet"
        fix = "run `outpost provision` first"
        raise OutpostError("not-provisioned", message, fix, ExitCode.REFUSED) from None
    link.reset()
    return device_id, tuple(names)
