"""Puts the telemetry path of a product together: sensors -> sampler -> outbox -> connection.

Owns nothing but the order of assembly. The composition root gives it the release's data files and
the hal objects, adds `sense` to the supervisor and `source` to the connection, and calls `flush` before a
planned reset or a sleep.
"""

from node.core import config, outbox, record, sampler
from node.tasks import publish, sense

_SEGMENT = 4096
_EVENT_SEGMENTS = 8  # of 1 KiB: two blocks' worth, but one block each on littlefs


class Telemetry:
    """`files` = (product.cbor, schema.cbor) as bytes; `ports` = (uptime_ms, offset_ms, log).

    `bus_of(sensor_config)` gives the bus (or pins, or ADC) of a sensor. ConfigError when the files
    are not usable or do not belong together: the build made them from the same drivers.
    """

    def __init__(self, files, storage, boot_number: int, bus_of, ports, folder="/data/outbox") -> None:
        self.product = product = config.parse(files[0])
        columns = sense.columns_of(product)
        fields = config.schema_fields(product, lambda sensor: columns[product.sensors.index(sensor)])
        if record.read_schema(files[1]) != fields:
            raise config.ConfigError("config-schema")
        self.box = outbox.Outbox(storage, outbox_config(product, folder))
        self.box.open()
        identity = (record.schema_id(files[1]), boot_number)
        self.sampler = sampler.Sampler(product, columns, identity)
        stations = sense.open_stations(product, bus_of)
        self.sense = sense.SenseTask(product, stations, self.sampler, self.box, ports)
        self.source = publish.PublishSource(self.box, boot_number, ports[1])

    def flush(self) -> None:
        """Everything taken goes to flash: before a reset or a sleep."""
        self.sense.close_batch()
        self.box.flush()
        self.box.save()

    def facts(self) -> dict:
        """For the heartbeat: rows taken in this boot, and the outbox's accounts since ever."""
        box = self.box
        return {
            "rows": self.sampler.taken,
            "q": box.depth,
            "sent": box.delivered,
            "drop": box.dropped,
            "ram": box.unflushed + self.sampler.batcher.rows,
            "bad": box.damaged,
            "err": self.sense.errors,
        }


def outbox_config(product, folder: str):
    """Bounds of the outbox from product.cbor."""
    settings = outbox.OutboxConfig(folder)
    settings.event_segments = _EVENT_SEGMENTS // 2 if product.outbox_bytes < 65536 else _EVENT_SEGMENTS
    settings.segments = max(2, product.outbox_bytes // _SEGMENT - settings.event_segments)
    settings.policy = "thin" if product.outbox_policy == "thin" else "drop"
    settings.keep = product.outbox_keep
    settings.flush_ms = product.flush_ms
    return settings
