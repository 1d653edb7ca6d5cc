"""What joins a network and what asks for the time, composed when it is needed."""

from loader import cbor
from node.core import wifi
from node.hal import data, sntp, ticks
from node.hal.wifi import Radio
from node.tasks.network import ClockTask, NetworkTask

_DEVICE = "/data/device.cbor"
_CLOCK = "/data/clock.cbor"
_ACCESS_POINT = "/data/ap.cbor"


def open_joining(node, memory):
    """A NetworkTask that goes on where the last one, whose policy's memory this is, has ended."""
    device = data.read_map(node.storage, _DEVICE)
    policy = wifi.WifiPolicy(wifi.networks_from(device.get("wifi", [])), node.ports.below)
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

    radio = Radio("", "", node.station)
    return NetworkTask(policy, radio, node.ticks.uptime_ms, node.log, save_access_point)


def open_asking(node):
    device = data.read_map(node.storage, _DEVICE)
    storage = node.storage

    def save_bound(unix_s: int) -> None:
        storage.write_atomic(_CLOCK, cbor.encode({"lb": unix_s}))

    ports = (_ask_time, node.ticks.uptime_ms, ticks.set_chip_clock, save_bound, node.log)
    return ClockTask(node.clock, device.get("ntp", []), ports)


async def _ask_time(server: str) -> int:
    host, _, port = server.partition(":")
    return await sntp.query(host, int(port or "123"))
