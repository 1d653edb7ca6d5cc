"""The part of battery mode that measures: sensors, filters and the open batch of one wake.

Apart from `battery`, so that all of it can be forgotten before a connection is made: TLS wants the
memory. In a small heap, what reads the configuration is forgotten before the sensors are asked.
"""

from loader.cbor import sha256
from node.core.sampler import Sampler
from node.hal import modules
from node.tasks.sense import SenseTask

_READ = ("node.core.config", "node.tasks.stations")  # at the beginning only


class Readings:
    """`wake` is the `battery.Wake`, `turn` the `parts.round.Round` with the board's wiring."""

    def __init__(self, wake, turn) -> None:
        self._wake = wake
        self._compose(turn.wiring)
        if not wake.roomy:
            for name in _READ:
                modules.drop(name)
        state, batcher = wake.state, self.sampler.batcher
        self.batcher = batcher
        self.sampler.event_seq = state.event_seq
        batcher.resume(state.next_seq)
        if state.batch and not batcher.restore(state.batch):
            wake.log.warning("wake: the kept batch does not fit and is lost")

    def _compose(self, wiring) -> None:
        from node.core.config import parse
        from node.tasks.stations import columns_of, open_stations

        wake = self._wake
        storage, slot = wake.storage, wake.boot.slot
        product = parse(storage.read(slot + "/product.cbor"))
        # as core.record.schema_id, which is not worth loading for it
        schema_id = sha256(storage.read(slot + "/schema.cbor"))[:4]
        columns = columns_of(product)
        self._rows = product.batch
        self._column = _column_of(product, columns)
        self.sampler = Sampler(product, columns, (schema_id, wake.state.boot))
        ports = (wake.ticks.uptime_ms, wake.offset_ms, wake.log)
        stations = open_stations(product, _buses(wiring, product))
        self.sense = SenseTask(product, stations, self.sampler, None, ports)

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
        return self.batcher.rows >= self._rows

    def battery_mv(self):
        return self.sampler.values[self._column] if self._column >= 0 else None

    def take_out(self) -> list:
        """The alarms and the open batch, as arguments of Outbox.append."""
        tray = _Tray()
        self.sense.attach(tray)
        self.sense.take_events()
        self.sense.close_batch()
        return tray.rows

    def note(self, state) -> None:
        """What has to be remembered over the sleep."""
        state.next_seq = self.batcher.next_seq
        state.event_seq = max(state.event_seq, self.sampler.event_seq)
        state.batch = self.batcher.keep()
        state.errors = sum(self.sense.errors.values())


class _Tray:
    """In the place of the outbox, which is opened when this is forgotten."""

    def __init__(self) -> None:
        self.rows: list = []

    def append(self, payload, samples: int, kind: int, now_ms: int) -> None:
        self.rows.append((bytes(payload), samples, kind, now_ms))


def _buses(wiring, product) -> dict:
    """The buses that sensors name; the wiring itself has the empty name."""
    found = {"": wiring}
    for sensor in product.sensors:
        found[sensor.bus] = wiring.bus(sensor.bus) if sensor.bus else wiring
    return found


def _column_of(product, columns) -> int:
    """Where in a row the battery's voltage is; -1: nowhere."""
    if not product.battery.column:
        return -1
    from node.core.config import schema_fields

    fields = schema_fields(product, lambda sensor: columns[product.sensors.index(sensor)])
    names = [field[0] for field in fields]
    return names.index(product.battery.column) if product.battery.column in names else -1
