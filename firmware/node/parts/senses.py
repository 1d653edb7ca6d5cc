"""Third stage of composing a node (see `basis`): sensors, filters, outbox."""

from loader.cbor import sha256
from node.core.outbox import Outbox  # noqa: F401 - hal.data makes it
from node.core.sampler import Sampler
from node.hal import modules
from node.tasks.publish import PublishSource
from node.tasks.sense import SenseTask


def make(node) -> bool:
    modules.keep(("node.parts.senses",))
    slot, product = node.boot.slot, node.recipe
    _outbox(node, slot)
    node.sampler = _sampler(node, product)
    trained = node.storage.read(slot + "/model.cbor")
    if trained:
        _watch(node.sampler, trained)
    ports = (node.ticks.uptime_ms, node.clock.offset_ms, node.log)
    node.sense = SenseTask(product, node.stations, node.sampler, node.outbox, ports)
    node.recipe = node.stations = node.columns = None
    publisher = PublishSource(node.outbox, node.boot_number, node.clock.offset_ms)
    node.connection.add_source(publisher)
    return True


def _outbox(node, slot) -> None:
    from node.hal import data

    product = data.read_map(node.storage, slot + "/product.cbor")
    node.outbox = data.open_outbox(node.storage, product, node.boot.secret)


def _sampler(node, product):
    # as core.record.schema_id, which is not worth loading for it
    schema_id = sha256(node.storage.read(node.boot.slot + "/schema.cbor"))[:4]
    return Sampler(product, node.columns, (schema_id, node.boot_number))


def _watch(sampler, trained) -> None:
    """Let the release's model look at the rows."""
    from node.core.model import Model

    sampler.watch(Model(trained))
