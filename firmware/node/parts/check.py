"""The check for a release, and the updater, composed for one run."""

from node.core.check import Check, Config
from node.core.conditions import Conditions, Settings
from node.core.errand import Errand
from node.hal import data
from node.tasks.download import Download

_DEVICE = "/data/device.cbor"
_DEFERRED = "/data/deferred.cbor"


def open_check(node):
    """A check beside all that runs: it remembers the last, and asks the conditions."""
    device = data.read_map(node.storage, _DEVICE)
    place = device["update"]
    conditions = _conditions(node, device["id"])
    conditions.until_ms = node.deferred_until_ms
    config = Config(place["url"], place["head"], conditions.allowed)
    node.updater = Check(node.boot, config, node.update_moved)
    node.updater.recall(node.update_memory or ("", Errand(node.storage).settled))
    return Download(node.updater, node.update_ports)


def allowed(node) -> str:
    """ "" or the condition of an update that is not met."""
    conditions = _conditions(node, data.read_map(node.storage, _DEVICE)["id"])
    conditions.until_ms = node.deferred_until_ms
    return conditions.allowed({})


def send_errand(node) -> None:
    """The next boot is for the update."""
    Errand(node.storage).send(node.unix_s())


def open_update(updating):
    """The updater, for a boot that has nothing else to do; the conditions have been asked."""
    from node.core.update import Update
    from node.hal.slotfiles import SlotFiles

    place = updating.device["update"]
    config = Config(place["url"], place["head"])
    if updating.boot.device.get("runtime_max"):
        from node.hal import runtime  # shipped only to boards with a spare partition

        config.spare = runtime.spare
    if place["url"].startswith("https:"):
        updating.update_ports.tls = _tls(updating)
    updating.updater = Update(updating.boot, SlotFiles(), config, updating.update_moved)
    return Download(updating.updater, updating.update_ports)


def _tls(updating):
    import os

    import machine
    from node.hal import tls
    from node.tasks import identity

    own = identity.Identity(updating.storage, os.urandom, machine.unique_id())
    key, certificate, authority = own.credentials()
    memory = tls.memory_of_this_chip()
    return tls.Tls(certificate, key, [authority] if authority else [], memory)


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
