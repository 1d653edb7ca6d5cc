"""Property tests: packed batches against SenML, and the decoder against anything at all."""

import json
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st
from node.core import quality, record, senml, thin

VALUE = st.integers(-record.VALUE_MAX, record.VALUE_MAX)
CODES = st.one_of(st.just(0), st.integers(0, quality.MAX))
SCALE = st.integers(-9, 9)


@st.composite
def batches(draw):
    samples = draw(st.integers(1, 20))
    columns = draw(st.integers(1, 6))
    boot, seq = draw(st.integers(0, 0xFFFFFFFF)), draw(st.integers(0, 0xFFFFFFFF))
    batch = record.Batch(draw(st.binary(min_size=4, max_size=4)), boot, seq)
    batch.stride = draw(st.one_of(st.just(1), st.integers(2, 0xFFFF)))
    batch.dated = draw(st.booleans())
    batch.times = [draw(st.integers(0, 1 << 47)) for _ in range(samples)]
    for _ in range(columns):
        codes = [draw(CODES) for _ in range(samples)]
        batch.quality.append(codes)
        batch.columns.append([draw(VALUE) if quality.has_value(code) else None for code in codes])
    return batch


@settings(max_examples=300, deadline=None)
@given(batches())
def test_a_batch_survives_the_wire(batch):
    data = record.encode(batch)
    assert vars(record.decode(data)) == vars(batch)
    assert record.encode(record.decode(data)) == data


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_refused_or_are_the_one_encoding(data, plausible):
    if plausible:
        data = b"\x01" + data
    try:
        batch = record.decode(data)
    except record.RecordError as error:
        assert error.code.startswith("batch-")
        return
    assert record.encode(batch) == data


@settings(max_examples=200, deadline=None)
@given(batches(), st.data())
def test_senml_json_says_the_same_numbers(batch, data):
    schema = [(f"c{i}", "Cel", data.draw(SCALE)) for i in range(len(batch.columns))]
    expected = [
        (name, Fraction(value) * Fraction(10) ** scale)
        for name, _, _, value, scale, _ in senml.expand(batch, schema)
        if value is not None
    ]
    pack = json.loads(senml.to_json(batch, schema, "dev/"), parse_float=Fraction)
    assert [(row["n"], Fraction(row["v"])) for row in pack] == expected
    if batch.dated and pack:
        times = [Fraction(pack[0]["bt"]) + row.get("t", 0) for row in pack]
        wanted = [row[2] for row in senml.expand(batch, schema) if row[3] is not None]
        assert times == [Fraction(time_ms, 1000) for time_ms in wanted]


@settings(max_examples=100, deadline=None)
@given(batches(), st.integers(2, 5))
def test_thinning_is_a_subset(batch, keep):
    batch.seq &= 0xFFFF
    batch.stride = min(batch.stride, 100)
    coarse = record.decode(record.encode(batch))
    thin.pick(coarse, keep)
    coarse = record.decode(record.encode(coarse))
    assert coarse.times == batch.times[::keep]
    numbers = [coarse.seq_of(i) for i in range(coarse.samples)]
    assert numbers == [batch.seq_of(i) for i in range(batch.samples)][::keep]
