"""A stage of composing a node (see `basis`): the product's sensors, with drivers and buses."""

from node.hal import modules
from node.tasks.sense import Station  # noqa: F401 - tasks.stations makes them


def make(node) -> bool:
    node.stations, node.columns = _stations(node, node.recipe)
    modules.keep(("node.parts.probes", "node.tasks.stations", "node.hal.board"))
    return True


def _stations(node, product):
    from node.hal import board
    from node.tasks.stations import columns_of, open_stations

    boot = node.boot
    wiring = board.load("%s/board-%s.cbor" % (boot.slot, boot.device["board"]))
    return open_stations(product, _buses(wiring, product)), columns_of(product)


def _buses(wiring, product) -> dict:
    """The buses that sensors name; the wiring itself has the empty name."""
    found = {"": wiring}
    for sensor in product.sensors:
        if sensor.bus not in found:
            found[sensor.bus] = wiring.bus(sensor.bus) if sensor.bus else wiring
    return found
