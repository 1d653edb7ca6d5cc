"""The station radio behind `core.wifi`: carries out its actions, reports what the chip says.

Owns the `network.WLAN` object. ESP32 and RP2 differ in status numbers, in power save and in
what `connect()` takes; those differences end here.
"""

import network

from node.core import wifi

# cyw43 (RP2): negative link states. ESP32: numbers from 200 on, or 1000..1010.
_NO_NETWORK = (-2, 201, 211, 212)
_WRONG_PASSWORD = (-3, 202, 210)
_FAILED = (-1, 200, 203, 204, 205)


class Radio:
    """The WLAN interface. `country` is ISO 3166-1 alpha-2; the radio's channels depend on it."""

    def __init__(self, country: str = "", hostname: str = "") -> None:
        self._country = country
        self._hostname = hostname
        self._wlan = None

    def _open(self):
        if self._wlan is None:
            if self._country:
                network.country(self._country)
            if self._hostname:
                network.hostname(self._hostname[:32])
            self._wlan = network.WLAN(network.STA_IF)
        return self._wlan

    def apply(self, action: str, argument):
        """Do what the policy asked; a scan returns (ssid, bssid, channel, rssi) rows."""
        wlan = self._open()
        if action == wifi.SCAN:
            wlan.active(True)
            return [(_text(r[0]), r[1], r[2], r[3]) for r in wlan.scan()]
        if action == wifi.JOIN:
            self._join(wlan, argument)
        elif action in (wifi.OFF, wifi.RESTART):
            _leave(wlan)
            wlan.active(False)
        return None

    def _join(self, wlan, join) -> None:
        wlan.active(True)
        _leave(wlan)
        if join.network.static:
            wlan.ifconfig(join.network.static)
        # RP2's connect() takes a BSSID, ESP32's too; a channel only where the port has it.
        if join.bssid:
            wlan.connect(join.network.ssid, join.network.psk or None, bssid=join.bssid)
        else:
            wlan.connect(join.network.ssid, join.network.psk or None)

    def status(self) -> int:
        """The link, in the policy's terms."""
        wlan = self._wlan
        if wlan is None:
            return wifi.IDLE
        if wlan.isconnected():
            return wifi.UP
        code = wlan.status()
        if code in _NO_NETWORK:
            return wifi.NO_NETWORK
        if code in _WRONG_PASSWORD:
            return wifi.WRONG_PASSWORD
        if code in _FAILED:
            return wifi.FAILED
        return wifi.JOINING

    def rssi(self) -> int | None:
        """Signal of the joined network in dBm; None when not joined or not told."""
        if self._wlan is None or not self._wlan.isconnected():
            return None
        try:
            return self._wlan.status("rssi")
        except (ValueError, OSError):
            return None

    def off(self) -> None:
        """Radio off: before deep sleep, and on the way out."""
        if self._wlan is not None:
            _leave(self._wlan)
            self._wlan.active(False)


def _leave(wlan) -> None:
    try:
        wlan.disconnect()
    except OSError:
        pass  # ESP32 raises when there was nothing to leave


def _text(ssid: bytes) -> str:
    try:
        return ssid.decode()
    except UnicodeError:
        return ""
