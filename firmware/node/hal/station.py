"""The Wi-Fi interface while it is in use: is it still joined, how well, and off.

Owns the `network.WLAN` object. What joins a network is `hal.wifi`'s, and needed rarely.
"""

import network


class Station:
    """`country` is ISO 3166-1 alpha-2; the radio's channels depend on it."""

    def __init__(self, country: str = "", hostname: str = "") -> None:
        self._country = country
        self._hostname = hostname
        self._wlan = None
        self.fixed = False  # the address is not DHCP's

    def nic(self):
        """The interface, made when first asked for."""
        if self._wlan is None:
            if self._country:
                network.country(self._country)
            if self._hostname:
                network.hostname(self._hostname[:32])
            self._wlan = network.WLAN(network.STA_IF)
        return self._wlan

    def joined(self) -> bool:
        return self._wlan is not None and self._wlan.isconnected()

    def rssi(self) -> int | None:
        """Signal of the joined network in dBm; None when not joined or not told."""
        try:
            return self._wlan.status("rssi") if self.joined() else None
        except (ValueError, OSError):
            return None

    def leave(self) -> None:
        try:
            self._wlan.disconnect()
        except OSError:
            pass  # ESP32 raises when there was nothing to leave

    def off(self) -> None:
        """Radio off: before deep sleep, and on the way out."""
        if self._wlan is not None:
            self.leave()
            self._wlan.active(False)
