"""One telemetry payload to readings, whichever of the three forms it has.

The first byte tells: 0x01 a packed batch (node.core.record, expanded with the schema of the
published release), `[` SenML-JSON, 0x80..0x9f SenML-CBOR (an array).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from node.core import record, senml

from outpost.fleet import senml as foreign
from outpost.fleet.payload import PayloadError
from outpost.fleet.registry.telemetry import Reading

_JSON_ARRAY = 0x5B
_CBOR_ARRAYS = range(0x80, 0xA0)

Schema = list[tuple[str, str, int]]
# The columns of a schema by its id, None when no release brought it.
SchemaLookup = Callable[[str], Schema | None]


@dataclass
class Samples:
    """Readings by sequence number, when the device numbers them."""

    readings: dict[int, list[Reading]] = field(default_factory=dict)
    boot: int | None = None
    first: int = 0
    last: int = 0
    dated: bool = True

    @property
    def count(self) -> int:
        return len(self.readings)


def read(payload: bytes, schema_of: SchemaLookup, now_ms: int) -> Samples:
    """PayloadError for anything that is not a telemetry payload."""
    if not payload:
        raise PayloadError("empty")
    kind = payload[0]
    if kind == record.KIND:
        return _packed(payload, schema_of)
    if kind == _JSON_ARRAY:
        return Samples({0: foreign.from_json(payload, now_ms)})
    if kind in _CBOR_ARRAYS:
        return Samples({0: foreign.from_cbor(payload, now_ms)})
    raise PayloadError("unknown-format", f"first byte 0x{kind:02x}")


def _packed(payload: bytes, schema_of: SchemaLookup) -> Samples:
    try:
        batch = record.decode(payload)
    except record.RecordError as error:
        raise PayloadError(error.code) from None
    schema = schema_of(batch.schema_id.hex())
    if schema is None:
        raise PayloadError("unknown-schema", batch.schema_id.hex())
    try:
        rows = senml.expand(batch, schema)
    except ValueError as error:
        raise PayloadError("schema-columns", str(error)) from None
    columns = len(batch.columns)
    samples = Samples(
        boot=batch.boot, first=batch.seq, last=batch.seq_of(batch.samples - 1), dated=batch.dated
    )
    for index in range(batch.samples):
        mine = rows[index * columns : (index + 1) * columns]
        samples.readings[batch.seq_of(index)] = [
            Reading(name, time_ms, scaled(value, scale), unit, None, quality)
            for name, unit, time_ms, value, scale, quality in mine
            if value is not None
        ]
    return samples


def scaled(value: int, scale: int) -> float:
    """value x 10**scale, rounded once (the quotient of two integers is exact before it)."""
    return float(value * 10**scale) if scale >= 0 else value / 10**-scale
