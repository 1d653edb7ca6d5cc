"""What a packed batch means, as SenML (RFC 8428; secondary units RFC 8798), without floats.

A SenML record here is (name, unit, time_ms, value, scale, quality): the measurement is
value x 10**scale in `unit`, `value` None where `quality` says that there is none. Whoever needs
JSON or CBOR numbers makes them from that pair, once, at the edge.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from node.core.record import Batch

    Row = tuple[str, str, int, int | None, int, int]


def expand(batch: "Batch", schema: "list[tuple[str, str, int]]") -> "list[Row]":
    """The records of `batch`, sample by sample in the schema's order.

    `schema` is what `record.read_schema` returns. ValueError when it has another number of
    columns. Times are ms since 1970 when `batch.dated`, else ms of uptime.
    """
    if len(schema) != len(batch.columns):
        raise ValueError("schema-columns")
    rows = []
    for index in range(len(batch.times)):
        for at in range(len(schema)):
            name, unit, scale = schema[at]
            value = batch.columns[at][index]
            rows.append((name, unit, batch.times[index], value, scale, batch.quality[at][index]))
    return rows


def to_decimal(value: int, scale: int) -> str:
    """value x 10**scale as a JSON number, exact: no float is involved."""
    if scale >= 0:
        return str(value * 10**scale)
    sign = "-" if value < 0 else ""
    digits = str(abs(value))
    if len(digits) <= -scale:
        digits = "0" * (1 - scale - len(digits)) + digits
    text = digits[:scale] + "." + digits[scale:]
    return sign + text.rstrip("0").rstrip(".")


def to_json(batch: "Batch", schema: "list[tuple[str, str, int]]", base_name: str) -> str:
    """A SenML pack in JSON (RFC 8428 section 5): base name and base time in the first record.

    Values that are missing are left out. An undated batch has times relative to now (section
    4.5.3 reads times below 2**28 s so): uptime minus the last sample's uptime.
    """
    base_ms = batch.times[0] if batch.dated else batch.times[-1]
    parts: list[str] = []
    for name, unit, time_ms, value, scale, _ in expand(batch, schema):
        if value is None:
            continue
        fields = '"n":"%s","u":"%s","v":%s' % (name, unit, to_decimal(value, scale))
        if not parts:
            base = '"bn":"%s",' % base_name
            fields = base + ('"bt":%s,' % to_decimal(base_ms, -3) if batch.dated else "") + fields
        if time_ms != base_ms:
            fields += ',"t":%s' % to_decimal(time_ms - base_ms, -3)
        parts.append("{" + fields + "}")
    return "[" + ",".join(parts) + "]"
