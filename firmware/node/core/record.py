"""The packed batch: samples by column as zigzag-varint deltas, and the schema that gives them
meaning.

Wire format, version 1 (all varints are LEB128, least significant group first, shortest form only):

    0x01                 kind of payload
    flags                bit 0 DATED, bit 1 QUALITY, bit 2 STRIDE; others are refused
    schema id            first 4 bytes of SHA-256 of schema.cbor
    boot                 the device's boot number
    first seq            sequence number of the first sample in that boot
    [stride]             step of seq from sample to sample (thinned batches); 1 when absent
    samples, columns     1..255, 1..32
    first time           ms since 1970 when DATED, else ms of uptime in `boot`
    [times]              samples-1 zigzag: the first step, then the change of the step
    [quality]            per column runs (length, code) that cover the samples
    columns              per column zigzag: the first value, then differences

A value that is missing (quality 1..7) takes part as a difference of 0. One batch has one
encoding, so `encode(decode(x)) == x`; anything else is refused with a code. The decoder's work is
bounded by the counts above, whatever the bytes say. A sample is (device, boot, seq): ingest drops
duplicates by it. The writing half is `node.core.pack`, all that a device needs all the time.
"""

import hashlib

from loader import cbor
from micropython import const
from node.core import quality
from node.core.pack import (
    MAX_BYTES,
    MAX_COLUMNS,
    MAX_SAMPLES,
    VALUE_MAX,
    VARINT_MAX,
    Batch,
    RecordError,
    Writer,
    encode_into,
)

__all__ = ("Batch", "RecordError", "VALUE_MAX", "Writer")  # of pack, for those who read as well

KIND = const(1)
DATED = const(1)
QUALITY = const(2)
STRIDE = const(4)
_FLAGS = const(7)
_TIME_MAX = 1 << 48  # ms: the year 10889
_SEQ_MAX = 0xFFFFFFFF


def encode(batch: Batch) -> bytes:
    """The one encoding of `batch`. RecordError when it breaks a bound."""
    writer = Writer()
    encode_into(batch, writer)
    return bytes(memoryview(writer.buffer)[: writer.pos])


# --- reading


class _Reader:
    def __init__(self, data: "bytes | bytearray | memoryview") -> None:
        self.data = data
        self.pos = 0

    def byte(self) -> int:
        if self.pos >= len(self.data):
            raise RecordError("batch-short")
        self.pos += 1
        return self.data[self.pos - 1]

    def varint(self, most: int) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            if value > most:
                raise RecordError("batch-range")
            if byte < 128:
                if byte == 0 and shift:
                    raise RecordError("batch-form")
                return value
            shift += 7
            if shift > 63:
                raise RecordError("batch-range")

    def zigzag(self, most: int) -> int:
        value = self.varint(2 * most)
        return value >> 1 if not value & 1 else -(value >> 1) - 1


def decode(data: "bytes | bytearray | memoryview") -> Batch:
    """The batch in `data`, all of it. RecordError with a code for anything else."""
    if len(data) > MAX_BYTES:
        raise RecordError("batch-size")
    reader = _Reader(data)
    batch, flags, samples, columns = _read_head(reader)
    batch.times = _read_times(reader, samples)
    for _ in range(columns):
        batch.quality.append(_read_runs(reader, samples) if flags & QUALITY else [0] * samples)
    if flags & QUALITY and not any(any(codes) for codes in batch.quality):
        raise RecordError("batch-form")
    for codes in batch.quality:
        batch.columns.append(_read_column(reader, codes))
    if reader.pos != len(data):
        raise RecordError("batch-trailing")
    return batch


def _read_head(reader: _Reader) -> "tuple[Batch, int, int, int]":
    if reader.byte() != KIND:
        raise RecordError("batch-kind")
    flags = reader.byte()
    if flags & ~_FLAGS:
        raise RecordError("batch-flags")
    schema_id = bytes([reader.byte() for _ in range(4)])
    boot = reader.varint(_SEQ_MAX)
    batch = Batch(schema_id, boot, reader.varint(_SEQ_MAX))
    batch.dated = flags & DATED != 0
    if flags & STRIDE:
        batch.stride = reader.varint(0xFFFF)
        if batch.stride < 2:
            raise RecordError("batch-form")
    samples = reader.varint(MAX_SAMPLES)
    columns = reader.varint(MAX_COLUMNS)
    # Every value is at least a byte: a batch that promises more than it brings ends here.
    if not samples or not columns or samples * columns > len(reader.data) - reader.pos:
        raise RecordError("batch-shape")
    return batch, flags, samples, columns


def _read_times(reader: _Reader, samples: int) -> "list[int]":
    last, step = reader.varint(_TIME_MAX), 0
    times = [last]
    for _ in range(samples - 1):
        step += reader.zigzag(_TIME_MAX)
        last += step
        if not 0 <= last <= _TIME_MAX:
            raise RecordError("batch-range")
        times.append(last)
    return times


def _read_runs(reader: _Reader, samples: int) -> "list[int]":
    codes: list[int] = []
    while len(codes) < samples:
        length = reader.varint(MAX_SAMPLES)
        code = reader.byte()
        if not 0 < length <= samples - len(codes) or code > quality.MAX:
            raise RecordError("batch-quality")
        if codes and codes[-1] == code:
            raise RecordError("batch-form")
        codes += [code] * length
    return codes


def _read_column(reader: _Reader, codes: "list[int]") -> "list[int | None]":
    column: list[int | None] = []
    last = 0
    for code in codes:
        delta = reader.zigzag(2 * VALUE_MAX)
        if not quality.has_value(code):
            if delta:
                raise RecordError("batch-form")
            column.append(None)
            continue
        last += delta
        if not -VALUE_MAX <= last <= VALUE_MAX:
            raise RecordError("batch-range")
        column.append(last)
    return column


# --- what a device does with packed batches


def date(data: "bytes | bytearray | memoryview", boot: int, offset_ms: int) -> "bytes | None":
    """`data` dated by the clock of its own boot, or None: already dated, or another boot's.

    `offset_ms` is Unix time minus uptime. Only the head is rewritten: steps stay what they are.
    """
    reader = _Reader(data)
    if reader.byte() != KIND or reader.byte() & DATED:
        return None
    reader.pos += 4
    if reader.varint(_SEQ_MAX) != boot:
        return None
    reader.varint(_SEQ_MAX)
    if data[1] & STRIDE:
        reader.varint(0xFFFF)
    reader.varint(MAX_SAMPLES)
    reader.varint(MAX_COLUMNS)
    at = reader.pos
    writer = Writer(VARINT_MAX)
    writer.varint(reader.varint(_TIME_MAX) + offset_ms)
    head = bytearray(data[:at])
    head[1] |= DATED
    return bytes(head) + bytes(writer.buffer[: writer.pos]) + bytes(data[reader.pos :])


# --- the schema


def make_schema(fields: "list[tuple[str, str, int]]") -> bytes:
    """schema.cbor for columns (name, SenML unit, decimal exponent), in order."""
    if not 0 < len(fields) <= MAX_COLUMNS:
        raise RecordError("schema-shape")
    rows = [[name, unit, scale] for name, unit, scale in fields]
    return cbor.encode({"v": 1, "fields": rows})


def read_schema(data: "bytes | bytearray | memoryview") -> "list[tuple[str, str, int]]":
    """The columns (name, unit, exponent) of a schema.cbor. RecordError `schema-form`."""
    try:
        document = cbor.decode(data)
    except cbor.VerifyError:
        raise RecordError("schema-form")
    if not isinstance(document, dict) or document.get("v") != 1:
        raise RecordError("schema-form")
    rows = document.get("fields")
    if not isinstance(rows, list) or not 0 < len(rows) <= MAX_COLUMNS:
        raise RecordError("schema-form")
    return [_field(row) for row in rows]


def _field(row: object) -> "tuple[str, str, int]":
    if not isinstance(row, list) or len(row) != 3:
        raise RecordError("schema-form")
    name, unit, scale = row
    if not isinstance(name, str) or not isinstance(unit, str) or not _is_int(scale):
        raise RecordError("schema-form")
    if not name or len(name) > 64 or len(unit) > 16 or not -9 <= scale <= 9:
        raise RecordError("schema-form")
    return name, unit, scale


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def schema_id(schema: bytes) -> bytes:
    """What a batch carries of its schema."""
    return hashlib.sha256(schema).digest()[:4]
