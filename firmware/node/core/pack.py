"""The writing half of `node.core.record`, where the format is described: all that a device needs
all the time.
"""

from micropython import const
from node.core import quality

MAX_SAMPLES = const(255)
MAX_COLUMNS = const(32)
MAX_BYTES = const(4096)
VALUE_MAX = const(0x7FFFFFFF)
VARINT_MAX = const(10)  # bytes of the longest varint there can be: 64 bits

_KIND = const(1)
_DATED = const(1)
_QUALITY = const(2)
_STRIDE = const(4)


class RecordError(Exception):
    """A batch that cannot be used. `code` is stable."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Batch:
    """Decoded samples. `columns[c][i]` is an int in the schema's scale, None where missing."""

    def __init__(self, schema_id: bytes, boot: int, seq: int) -> None:
        self.schema_id = schema_id
        self.boot = boot
        self.seq = seq
        self.stride = 1
        self.dated = False
        self.times: list[int] = []
        self.columns: list[list[int | None]] = []
        self.quality: list[list[int]] = []

    @property
    def samples(self) -> int:
        return len(self.times)

    def seq_of(self, index: int) -> int:
        return self.seq + index * self.stride


class Writer:
    """Varints into a buffer that is allocated once."""

    def __init__(self, size: int = MAX_BYTES) -> None:
        self.buffer = bytearray(size)
        self.pos = 0

    def byte(self, value: int) -> None:
        if self.pos >= len(self.buffer):
            raise RecordError("batch-size")
        self.buffer[self.pos] = value
        self.pos += 1

    def varint(self, value: int) -> None:
        buffer, pos = self.buffer, self.pos
        if pos + VARINT_MAX > len(buffer):
            raise RecordError("batch-size")
        while value > 127:
            buffer[pos] = value & 127 | 128
            value >>= 7
            pos += 1
        buffer[pos] = value
        self.pos = pos + 1

    def zigzag(self, value: int) -> None:
        if value < 0:
            self.varint(-2 * value - 1)
        else:
            self.varint(2 * value)


def encode_into(batch: Batch, writer: Writer) -> int:
    """Encode into `writer` from its start; returns the size. Allocates nothing for small ints."""
    _check_shape(batch)
    writer.pos = 0
    flags = _flags(batch)
    writer.byte(_KIND)
    writer.byte(flags)
    for byte in batch.schema_id:
        writer.byte(byte)
    writer.varint(batch.boot)
    writer.varint(batch.seq)
    if flags & _STRIDE:
        writer.varint(batch.stride)
    writer.varint(len(batch.times))
    writer.varint(len(batch.columns))
    _put_times(writer, batch.times)
    if flags & _QUALITY:
        for codes in batch.quality:
            _put_runs(writer, codes)
    for column in batch.columns:
        _put_column(writer, column)
    return writer.pos


def _check_shape(batch: Batch) -> None:
    samples = len(batch.times)
    if not 0 < samples <= MAX_SAMPLES or not 0 < len(batch.columns) <= MAX_COLUMNS:
        raise RecordError("batch-shape")
    if len(batch.quality) != len(batch.columns) or len(batch.schema_id) != 4:
        raise RecordError("batch-shape")
    for index in range(len(batch.columns)):
        if len(batch.columns[index]) != samples or len(batch.quality[index]) != samples:
            raise RecordError("batch-shape")
        _check_column(batch.columns[index], batch.quality[index])


def _check_column(column: "list[int | None]", codes: "list[int]") -> None:
    for at in range(len(column)):
        value, code = column[at], codes[at]
        if value is None:
            if not 0 < code < quality.OUTLIER:
                raise RecordError("batch-quality")
        elif code and not quality.OUTLIER <= code <= quality.MAX:
            raise RecordError("batch-quality")
        elif not -VALUE_MAX <= value <= VALUE_MAX:
            raise RecordError("batch-value")


def _flags(batch: Batch) -> int:
    flags = _DATED if batch.dated else 0
    if batch.stride != 1:
        flags |= _STRIDE
    for codes in batch.quality:
        for code in codes:
            if code:
                return flags | _QUALITY
    return flags


def _put_times(writer: Writer, times: "list[int]") -> None:
    writer.varint(times[0])
    last, step = times[0], 0
    for index in range(1, len(times)):
        delta = times[index] - last
        writer.zigzag(delta - step)
        last, step = times[index], delta


def _put_runs(writer: Writer, codes: "list[int]") -> None:
    start = 0
    for index in range(1, len(codes) + 1):
        if index == len(codes) or codes[index] != codes[start]:
            writer.varint(index - start)
            writer.byte(codes[start])
            start = index


def _put_column(writer: Writer, column: "list[int | None]") -> None:
    last = 0
    for value in column:
        if value is None:
            writer.byte(0)
        else:
            writer.zigzag(value - last)
            last = value
