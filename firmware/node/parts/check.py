"""The updater, composed for one check with what it remembers of the last."""

from node.core.conditions import Conditions, Settings
from node.core.update import Config, Update
from node.hal import data
from node.hal.slotfiles import SlotFiles
from node.tasks.download import Download

_DEVICE = "/data/device.cbor"
_DEFERRED = "/data/deferred.cbor"


def open_check(node):
    device = data.read_map(node.storage, _DEVICE)
    place = device["update"]
    conditions = _conditions(node, device["id"])
    conditions.until_ms = node.deferred_until_ms
    config = Config(place["url"], place["head"], conditions.allowed)
    if node.boot.device.get("runtime_max"):
        from node.hal import runtime  # shipped only to boards with a spare partition

        config.spare = runtime.spare
    node.updater = Update(node.boot, SlotFiles(), config, node.update_moved)
    if node.update_memory is not None:
        node.updater.recall(node.update_memory)
    return Download(node.updater, node.update_ports)


def defer(node, digest, seconds):
    """Put a release off; (seconds granted, until when of the uptime)."""
    conditions = _conditions(node, data.read_map(node.storage, _DEVICE)["id"])
    return conditions.defer(digest, seconds), conditions.until_ms


def _conditions(node, device_id):
    product = data.read_map(node.storage, node.boot.slot + "/product.cbor")

    def facts():
        return None, None, node.unix_s(), node.ticks.uptime_ms()

    settings = Settings(product.get("update"))
    return Conditions(settings, device_id, facts, node.storage, _DEFERRED)
