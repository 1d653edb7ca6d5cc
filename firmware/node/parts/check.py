"""The updater, composed for one check with what it remembers of the last."""

from node.core.update import Config, Update
from node.hal import data
from node.hal.slotfiles import SlotFiles
from node.tasks.download import Download

_DEVICE = "/data/device.cbor"


def open_check(node):
    place = data.read_map(node.storage, _DEVICE)["update"]
    config = Config(place["url"], place["head"])
    node.updater = Update(node.boot, SlotFiles(), config, node.update_moved)
    if node.update_memory is not None:
        node.updater.recall(node.update_memory)
    return Download(node.updater, node.update_ports)
