"""Third stage of composing a node (see `basis`): sensors, filters, outbox."""

from node.core.outbox import Outbox  # noqa: F401 - hal.data makes it
from node.core.sampler import Sampler
from node.hal import modules
from node.tasks.publish import PublishSource
from node.tasks.sense import SenseTask


def make(node) -> bool:
    modules.keep(("node.parts.senses",))
    slot = node.boot.slot
    _outbox(node, slot)
    product, columns = _configuration(node, slot)
    modules.drop("node.core.config")  # what it made stays
    node.sampler = _sampler(node, product, columns)
    trained = node.storage.read(slot + "/model.cbor")
    if trained:
        _watch(node.sampler, trained)
    ports = (node.ticks.uptime_ms, node.clock.offset_ms, node.log)
    stations = _stations(node, product)
    node.sense = SenseTask(product, stations, node.sampler, node.outbox, ports)
    node.connection.add_source(PublishSource(node.outbox, node.boot_number, node.clock.offset_ms))
    return True


def _outbox(node, slot) -> None:
    from node.hal import data

    product = data.read_map(node.storage, slot + "/product.cbor")
    node.outbox = data.open_outbox(node.storage, product, node.boot.secret)


def _configuration(node, slot):
    from node.core.config import parse
    from node.tasks.stations import columns_of

    product = parse(node.storage.read(slot + "/product.cbor"))
    return product, columns_of(product)


def _sampler(node, product, columns):
    from node.core import record

    schema_id = record.schema_id(node.storage.read(node.boot.slot + "/schema.cbor"))
    return Sampler(product, columns, (schema_id, node.boot_number))


def _watch(sampler, trained) -> None:
    """Let the release's model look at the rows."""
    from node.core.model import Model

    sampler.watch(Model(trained))


def _stations(node, product):
    from node.hal import board
    from node.tasks.stations import open_stations

    boot = node.boot
    wiring = board.load("%s/board-%s.cbor" % (boot.slot, boot.device["board"]))
    return open_stations(product, _buses(wiring, product))


def _buses(wiring, product) -> dict:
    """The buses that sensors name; a part on a pin of its own has the empty name."""
    found = {}
    for sensor in product.sensors:
        if sensor.bus not in found:
            found[sensor.bus] = wiring.bus(sensor.bus) if sensor.bus else wiring
    return found
