"""The part of battery mode that measures: sensors, filters and the open batch of one wake.

Apart from `battery`, so that all of it can be forgotten before a connection is made: TLS wants the
memory.
"""

from node.core import record
from node.core.config import parse, schema_fields
from node.core.sampler import Sampler
from node.tasks.sense import SenseTask
from node.tasks.stations import columns_of, open_stations


class Readings:
    """`wake` is the `battery.Wake`: its state, wiring, ticks and log are used."""

    def __init__(self, wake) -> None:
        self._wake = wake
        slot, state = wake.boot.slot, wake.state
        self.product = product = parse(wake.storage.read(slot + "/product.cbor"))
        schema_id = record.schema_id(wake.storage.read(slot + "/schema.cbor"))
        columns = columns_of(product)
        self.sampler = Sampler(product, columns, (schema_id, state.boot))
        self.sampler.event_seq = state.event_seq
        self.batcher = self.sampler.batcher
        self.batcher.resume(state.next_seq)
        if state.batch and not self.batcher.restore(state.batch):
            wake.log.warning("wake: the kept batch does not fit and is lost")
        ports = (wake.ticks.uptime_ms, wake.offset_ms, wake.log)
        self.sense = SenseTask(product, self._stations(product), self.sampler, None, ports)
        self._column = _column_of(product, columns)

    def _stations(self, product):
        wiring = self._wake.wiring
        buses = {"": wiring}
        for sensor in product.sensors:
            buses[sensor.bus] = wiring.bus(sensor.bus) if sensor.bus else wiring
        return open_stations(product, buses)

    async def take(self) -> None:
        """One reading of every sensor."""
        before = self.sampler.taken
        await self.sense.round()
        if self.sampler.taken > before:
            print("reading %d %d" % (self._wake.state.boot, before))

    @property
    def alarmed(self) -> bool:
        return self.sampler.alarmed

    @property
    def full(self) -> bool:
        return self.batcher.rows >= self.product.batch

    def battery_mv(self):
        return self.sampler.values[self._column] if self._column >= 0 else None

    def hand_over(self, box) -> None:
        """The open batch and the alarms go to the outbox."""
        self.sense.attach(box)
        self.sense.take_events()
        self.sense.close_batch()

    def note(self, state) -> None:
        """What has to be remembered over the sleep."""
        state.next_seq = self.batcher.next_seq
        state.event_seq = max(state.event_seq, self.sampler.event_seq)
        state.batch = self.batcher.keep()
        state.errors = sum(self.sense.errors.values())


def _column_of(product, columns) -> int:
    """Where in a row the battery's voltage is; -1: nowhere."""
    if not product.battery.column:
        return -1
    fields = schema_fields(product, lambda sensor: columns[product.sensors.index(sensor)])
    names = [field[0] for field in fields]
    return names.index(product.battery.column) if product.battery.column in names else -1
