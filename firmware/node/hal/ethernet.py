"""A wired network behind the interface of `hal.station`: a W5500 on SPI, or a network that is
there already (a plain socket).

Owns the interface object. `data` is the `ethernet` map of the board's wiring. The ports differ in
the class and in its arguments, and in nothing else that matters here: lwIP takes the W5500's raw
frames on RP2, ESP-IDF's driver does on ESP32, so sockets and TLS are those of Wi-Fi.
"""

import asyncio

import machine
from micropython import const

_POLL_MS = const(100)
_PATIENCE_MS = const(30000)  # for a link and a lease; then the chip is started anew


class Ethernet:
    """The interface while it is in use. `static` is (address, mask, gateway, dns) or None."""

    def __init__(self, data: dict, hostname: str = "", static=None) -> None:
        self._data = data
        self._hostname = hostname
        self._static = static
        self._nic = None

    def nic(self):
        """The interface, made when first asked for; None for a network that needs none."""
        if self._nic is None and self._data["kind"] == "w5500":
            import network

            if self._hostname:
                network.hostname(self._hostname[:32])
            self._nic = _w5500(network, self._data)
        return self._nic

    def joined(self) -> bool:
        if self._data["kind"] == "present":
            return True
        # a lease is not always part of a port's own answer
        return (
            self._nic is not None
            and self._nic.isconnected()
            and self._nic.ifconfig()[0] != "0.0.0.0"
        )

    def servers(self) -> list:
        """Addresses of the DNS servers that DHCP, or the static configuration, has named."""
        return [self._nic.ifconfig()[3]] if self._nic is not None else []

    def rssi(self) -> None:
        """A wire has none."""

    def leave(self) -> None:
        """There is nobody to say goodbye to."""

    def off(self) -> None:
        if self._nic is not None:
            self._nic.active(False)

    def joining(self, log) -> "Cable":
        return Cable(self, log)

    def start(self) -> None:
        nic = self.nic()
        if nic is not None:
            nic.active(True)
            if self._static:
                nic.ifconfig(self._static)


class Cable:
    """What `tasks.watch.RadioWatch` runs until the network is up: there is no policy to it, so it
    is its own."""

    def __init__(self, station: Ethernet, log) -> None:
        self._station = station
        self._log = log
        self.policy = self
        self.up = False

    def memory(self) -> None:
        """Nothing is to be remembered for the next time."""

    async def run(self, beat) -> None:
        """Starts the chip anew now and then: one that was reset by a dip of its supply does not
        say so."""
        while not self.up:
            self._station.off()
            self._station.start()
            left_ms = _PATIENCE_MS
            while left_ms > 0 and not self._station.joined():
                beat()
                await asyncio.sleep_ms(_POLL_MS)
                left_ms -= _POLL_MS
            self.up = self._station.joined()
        self._log.info("ethernet: up")


def _w5500(network, data: dict):
    sck, mosi, miso = [machine.Pin(number) for number in data["pins"]]
    spi = machine.SPI(data["spi"], data["hz"], sck=sck, mosi=mosi, miso=miso)
    pins = [machine.Pin(data[name]) if data[name] >= 0 else None for name in ("cs", "rst", "int")]
    if hasattr(network, "WIZNET5K"):  # RP2: extmod/network_wiznet5k.c
        more = pins if pins[2] is not None else pins[:2]
        return network.WIZNET5K(spi, *more)
    # ESP32: ports/esp32/network_lan.c; without its interrupt pin the driver refuses (issue 16561)
    more = {"reset": pins[1]} if pins[1] is not None else {}
    more["int"] = pins[2]
    kind = network.PHY_W5500
    return network.LAN(spi=spi, phy_type=kind, phy_addr=0, cs=pins[0], **more)
