"""`network`: WLAN as station (and an access point that only says it is up), country, hostname, and
the two ways to a W5500: WIZNET5K of the rp2 builds for boards with one, LAN of every ESP32."""

from . import clock, power, radio, world

STA_IF = 0
AP_IF = 1
_RP2 = {
    radio.OFF: 0,
    radio.IDLE: 0,
    radio.CONNECTING: 1,
    radio.JOINED: 3,
    radio.NO_AP: -2,
    radio.WRONG_KEY: -3,
    radio.FAILED: -1,
}
_ESP32 = {
    radio.OFF: 1000,
    radio.IDLE: 1000,
    radio.CONNECTING: 1001,
    radio.JOINED: 1010,
    radio.NO_AP: 201,
    radio.WRONG_KEY: 202,
    radio.FAILED: 200,
}
_NAMES = {
    "STAT_IDLE": radio.IDLE,
    "STAT_CONNECTING": radio.CONNECTING,
    "STAT_GOT_IP": radio.JOINED,
    "STAT_NO_AP_FOUND": radio.NO_AP,
    "STAT_WRONG_PASSWORD": radio.WRONG_KEY,
}
_WPA2 = 3
_hostname = ""
_country = "XX"
_ap_on = False
_options = {"reconnects": -1, "txpower": 20, "channel": 1, "pm": 1}


def power_up():
    codes = _ESP32 if power.board["port"] == "esp32" else _RP2
    for name, state in _NAMES.items():
        globals()[name] = codes[state]
    globals()["STAT_BEACON_TIMEOUT" if codes is _ESP32 else "STAT_CONNECT_FAIL"] = codes[
        radio.FAILED
    ]
    if codes is _ESP32:
        globals()["LAN"] = _Lan
        globals()["PHY_W5500"] = 103
    elif power.board["ethernet"]:  # W5500_EVB_PICO and its like have no radio
        globals()["WIZNET5K"] = _Wiznet5k
        del globals()["WLAN"]


def hostname(name=None):
    global _hostname
    if name is None:
        return _hostname or ("mpy-esp32" if power.board["port"] == "esp32" else "PicoW")
    _hostname = name
    return None


def country(code=None):
    global _country
    if code is None:
        return _country
    if len(code) != 2:
        raise ValueError
    _country = code
    return None


def ipconfig(*args, **options):
    return None


class _Interface:
    """What all have in common: an address, given or fixed."""

    def ifconfig(self, config=None):
        if config == "dhcp":  # blocks, on one port, and raises on the other when it runs already
            if power.board["port"] == "esp32" and radio.static_ip is None:
                raise OSError(0x5004, "Wifi Invalid DHCP")
            radio.static_ip = None
            clock.sleep_ms(10000 if power.board["port"] == "rp2" else 0)
            return None
        if config is not None:
            radio.static_ip = tuple(config)
            return None
        if radio.static_ip:
            return radio.static_ip
        if not self.isconnected():
            return ("0.0.0.0",) * 4
        return ("192.168.4.%d" % (2 + power.board["lease"]), "255.255.255.0") + (
            "192.168.4.1",
        ) * 2

    def ipconfig(self, name=None, **options):
        if name is None:
            self._ip_options(options)
            return None
        address = self.ifconfig()
        return {
            "addr4": address[:2],
            "gw4": address[2],
            "dhcp4": radio.static_ip is None,
            "has_dhcp4": radio.static_ip is None and self.isconnected(),
        }[name]

    def _ip_options(self, options):
        if options.get("dhcp4"):
            radio.static_ip = None
        if "addr4" in options:
            address = options["addr4"]
            if isinstance(address, str):
                address = (address.split("/")[0], "255.255.255.0")
            gateway = options.get("gw4", "192.168.4.1")
            radio.static_ip = (address[0], address[1], gateway, gateway)
        elif "gw4" in options and radio.static_ip:
            old = radio.static_ip
            radio.static_ip = (old[0], old[1], options["gw4"], old[3])


class WLAN(_Interface):
    IF_STA = 0
    IF_AP = 1
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2
    SEC_OPEN = 0
    SEC_WPA2 = 3

    def __init__(self, id=STA_IF):
        self._id = id

    def active(self, on=None):
        global _ap_on
        if self._id == AP_IF:
            if on is None:
                return _ap_on
            _ap_on = bool(on)
            return None
        if on is None:
            return radio.state != radio.OFF
        radio.activate(bool(on))
        return None

    def deinit(self):
        self.active(False)

    def connect(self, ssid=None, key=None, *, bssid=None, channel=None):
        if channel is not None and _on_esp32():
            raise TypeError("extra keyword arguments given")
        if radio.state == radio.OFF:
            raise OSError("WiFi Not Started") if _on_esp32() else OSError(1)
        radio.update()
        if _on_esp32() and radio.state == radio.CONNECTING:
            raise OSError("sta is connecting, cannot set config")
        radio.connect(_text(ssid), _text(key), bssid)

    def disconnect(self):
        radio.disconnect()

    def isconnected(self):
        radio.update()
        return radio.state == radio.JOINED

    def status(self, what=None):
        radio.update()
        if what is None:
            return (_ESP32 if _on_esp32() else _RP2)[radio.state]
        if what == "rssi":
            return radio.rssi(radio.point) if radio.state == radio.JOINED else 0
        raise ValueError("unknown status param")

    def scan(self):
        if radio.state == radio.OFF:
            raise OSError("STA must be active") if _on_esp32() else OSError(1)
        found = []
        for index in radio.scan():
            entry = power.board["access_points"][index]
            name = b"" if entry["hidden"] else entry["ssid"].encode()
            security = _WPA2 if entry["psk"] else 0
            found.append(
                (
                    name,
                    bytes.fromhex(entry["bssid"]),
                    entry["channel"],
                    radio.rssi(index),
                    security,
                    entry["hidden"],
                )
            )
        return found

    def config(self, *names, **options):
        if not names:
            _options.update(options)
            if "pm" in options:
                radio.saving = options["pm"] not in (WLAN.PM_NONE, 0xA11140)
            return None
        name = names[0]
        if name == "mac":
            return _mac()
        if name in ("ssid", "essid"):
            joined = radio.state == radio.JOINED
            return power.board["access_points"][radio.point]["ssid"] if joined else ""
        if name == "channel" and radio.state == radio.JOINED:
            return power.board["access_points"][radio.point]["channel"]
        if name in ("hostname", "dhcp_hostname"):
            return hostname()
        if name not in _options:
            raise ValueError("unknown config param")
        return _options[name]


class _Wired(_Interface):
    """The chip is where the board's data says, or the driver does not find it."""

    def _solder(self, pins):
        """`pins` by their names in the board's data; None: not given."""
        wire = power.board["ethernet"]
        for name, pin in pins:
            number = None if pin is None else getattr(pin, "id", pin)
            if not wire or number is not None and number != wire[name]:
                raise OSError("no W5500 answers: " + name)

    def active(self, on=None):
        if on is None:
            return radio.state != radio.OFF
        if on and radio.state == radio.OFF:
            radio.plug_in()
        elif not on:
            radio.activate(False)
        return None

    def isconnected(self):
        return radio.linked()

    def config(self, name):
        if name != "mac":
            raise ValueError("unknown config param")
        return _mac()


class _Wiznet5k(_Wired):
    """extmod/network_wiznet5k.c: WIZNET5K(spi, cs, rst[, intn])."""

    def __init__(self, spi, cs, rst, intn=None):
        self._solder((("cs", cs), ("reset", rst), ("interrupt", intn)))

    def status(self):
        return (2 if radio.state != radio.OFF else 1) if world.get("eth.up", 1) else 0


class _Lan(_Wired):
    """ports/esp32/network_lan.c, with an SPI Ethernet chip; the interrupt pin is required."""

    def __init__(self, id=0, *, phy_type, phy_addr, spi=None, cs=None, int=None, reset=None):
        if spi is None or phy_type != 103 or int is None:
            raise OSError("esp_eth_driver_install failed with invalid argument")
        self._solder((("cs", cs), ("interrupt", int), ("reset", reset)))

    def status(self):
        return 5 if self.isconnected() else 2  # ETH_GOT_IP, ETH_CONNECTED


def _on_esp32():
    return power.board["port"] == "esp32"


def _text(value):
    return value.decode() if isinstance(value, (bytes, bytearray)) else value


def _mac():
    """ESP32's base MAC is its unique id; a Pico's radio has its own."""
    raw = bytes.fromhex(power.board["uid"])
    return raw[:6] if _on_esp32() else b"\x28\xcd\xc1" + raw[-3:]
