"""The radio behind `core.wifi`: carries out its actions, reports what the chip says.

ESP32 and RP2 differ in status numbers, in power save and in what `connect()` takes; those
differences end here.
"""

from node.core import wifi
from node.hal.station import Station

# cyw43 (RP2): negative link states. ESP32: numbers from 200 on, or 1000..1010.
_NO_NETWORK = (-2, 201, 211, 212)
_WRONG_PASSWORD = (-3, 202, 210)
_FAILED = (-1, 200, 203, 204, 205)


class Radio:
    """The interface, with what is needed to join a network; `station` when there is one already.

    `power_save` is "none", "performance" or "powersave"; the port's own choice when empty.
    """

    def __init__(self, country="", hostname="", station=None, power_save: str = "") -> None:
        self._station = station or Station(country, hostname)
        self._power_save = power_save
        self.rssi = self._station.rssi
        self.off = self._station.off

    def apply(self, action: str, argument):
        """Do what the policy asked; a scan returns (ssid, bssid, channel, rssi) rows."""
        wlan = self._station.nic()
        if action == wifi.SCAN:
            wlan.active(True)
            return [(_text(r[0]), r[1], r[2], r[3]) for r in wlan.scan()]
        if action == wifi.JOIN:
            self._join(wlan, argument)
        elif action in (wifi.OFF, wifi.RESTART):
            self._station.off()
        return None

    def _join(self, wlan, join) -> None:
        wlan.active(True)
        self._station.leave()
        if self._power_save:
            wlan.config(pm=getattr(wlan, "PM_" + self._power_save.upper()))
        network = join.network
        if network.static:
            wlan.ifconfig(network.static)
        elif self._station.fixed:  # by the network before; ifconfig("dhcp") would block for 10 s
            wlan.ipconfig(dhcp4=True)
        self._station.fixed = bool(network.static)
        if not join.bssid:
            wlan.connect(network.ssid, network.psk or None)
            return
        try:
            wlan.connect(
                network.ssid, network.psk or None, bssid=join.bssid, channel=join.channel
            )
        except TypeError:  # ESP32's driver takes no channel
            wlan.connect(network.ssid, network.psk or None, bssid=join.bssid)

    def status(self) -> int:
        """The link, in the policy's terms."""
        if self._station.joined():
            return wifi.UP
        code = self._station.nic().status()
        if code in _NO_NETWORK:
            return wifi.NO_NETWORK
        if code in _WRONG_PASSWORD:
            return wifi.WRONG_PASSWORD
        if code in _FAILED:
            return wifi.FAILED
        return wifi.JOINING


def _text(ssid: bytes) -> str:
    try:
        return ssid.decode()
    except UnicodeError:
        return ""
