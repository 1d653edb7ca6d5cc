"""What joins a network, what asks for names and what asks for the time, composed when needed.

Each is loaded for itself: a question to a DNS server does not bring the Wi-Fi policy along.
"""

from loader import cbor
from node.hal import data

_DEVICE = "/data/device.cbor"
_CLOCK = "/data/clock.cbor"
_ACCESS_POINT = "/data/ap.cbor"
_PROBE_MS = 8000


def open_station(wire, device, device_id: str):
    """The network interface: of the board's wire, when it has one, or its radio."""
    if wire is None:
        from node.hal.station import Station

        return Station(device.get("country", ""), device_id)
    from node.hal.ethernet import Ethernet

    return Ethernet(wire, device_id, device.get("static"))


def open_joining(node, memory):
    """A NetworkTask that goes on where the last one, whose policy's memory this is, has ended."""
    if hasattr(node.station, "joining"):  # a wire: nothing to choose
        return node.station.joining(node.log)
    from node.core import wifi
    from node.hal.wifi import Radio
    from node.tasks.network import NetworkTask

    device = data.read_map(node.storage, _DEVICE)
    url = _probe_url(node)
    networks = wifi.networks_from(device.get("wifi", []))
    policy = wifi.WifiPolicy(networks, node.ports.below, None, bool(url))
    if memory is not None:
        policy.recall(*memory)
    else:
        cached = data.read_map(node.storage, _ACCESS_POINT)
        policy.cache = (
            (cached["ssid"], cached["bssid"], cached["ch"]) if len(cached) == 3 else None
        )
    storage = node.storage

    def save_access_point(cache) -> None:
        fields = {"ssid": cache[0], "bssid": bytes(cache[1]), "ch": cache[2]}
        storage.write_atomic(_ACCESS_POINT, cbor.encode(fields))

    radio = Radio("", "", node.station, device.get("pm", ""))
    task = NetworkTask(policy, radio, node.ticks.uptime_ms, node.log, save_access_point)
    if url:
        task.probe = _probing(node, url)
    return task


def _probe_url(node) -> str:
    """What to ask for when a captive portal may be in the way: the device's, or the product's."""
    product = data.read_map(node.storage, node.boot.slot + "/product.cbor")
    url = product.get("network", {}).get("probe", "")
    return data.read_map(node.storage, _DEVICE).get("probe", url) if url else ""


def _probing(node, url: str):
    """The NetworkTask's `probe`; what it takes is loaded when it is asked."""

    async def probe(beat) -> int:
        import asyncio

        from node.core import portal
        from node.tasks.download import Carrier

        carrier = Carrier(_Web(node))
        fetch = portal.request(url)
        try:
            await asyncio.wait_for_ms(carrier.fetch(fetch, beat), _PROBE_MS)
        except asyncio.TimeoutError:
            pass
        finally:
            carrier.close()
        return portal.verdict(fetch)

    return probe


class _Web:
    """What a Carrier needs of the machine, for http."""

    tls = None

    def __init__(self, node) -> None:
        from node.hal.link import Link

        self.uptime_ms = node.ticks.uptime_ms
        self.link = lambda: Link(None, node.resolve)


def open_asking(node):
    from node.hal import ticks
    from node.tasks.network import ClockTask

    device = data.read_map(node.storage, _DEVICE)
    storage = node.storage

    def save_bound(unix_s: int) -> None:
        storage.write_atomic(_CLOCK, cbor.encode({"lb": unix_s}))

    async def ask(server: str) -> int:
        from node.hal import sntp

        host, _, port = server.partition(":")
        return await sntp.query(host, int(port or "123"), node.resolve)

    ports = (ask, node.ticks.uptime_ms, ticks.set_chip_clock, save_bound, node.log)
    return ClockTask(node.clock, device.get("ntp", []), ports)


def open_resolver(node):
    """What asks DNS servers: those of the device's configuration, then the one DHCP named."""
    from node.hal.resolve import Resolver

    given = data.read_map(node.storage, _DEVICE).get("dns", [])
    nic = node.station.nic()
    named = [nic.ifconfig()[3]] if nic is not None else []
    return Resolver(lambda: given + named, 53, node.addresses)
