"""node.core.record: the packed batch, its bounds, and the schema."""

import unittest

from node.core import config, quality, record, senml, thin

SCHEMA = record.make_schema(
    [
        ("temperature", "Cel", -2),
        ("humidity", "%RH", -2),
        ("pressure", "Pa", 0),
        ("co2", "ppm", 0),
        ("battery", "V", -3),
    ]
)
START_MS = 1763690000123


def weather(samples=12):
    """Twelve minutes of a room: what the design's figure of 120 bytes is about."""
    batch = record.Batch(record.schema_id(SCHEMA), 7, 1234)
    batch.dated = True
    batch.times = [START_MS + 60000 * i + i * 37 % 7 for i in range(samples)]
    batch.columns = [
        [2150 + 3 * i for i in range(samples)],
        [4520 - 7 * i for i in range(samples)],
        [101325 + i * 5 % 9 for i in range(samples)],
        [420 + i * (-1) ** i for i in range(samples)],
        [3700 - i // 4 for i in range(samples)],
    ]
    batch.quality = [[0] * samples for _ in range(5)]
    return batch


def same(test, one, other):
    for name in ("schema_id", "boot", "seq", "stride", "dated", "times", "columns", "quality"):
        test.assertEqual(getattr(one, name), getattr(other, name))


def put(rows, value):
    rows[0][0] = value


def code_of(test, data):
    try:
        record.decode(data)
    except record.RecordError as error:
        return error.code
    test.assertTrue(False, "accepted")


class TestPacked(unittest.TestCase):
    def test_twelve_samples_of_five_values_fit_120_bytes(self):
        self.assertLess(len(record.encode(weather())), 121)

    def test_what_goes_in_comes_out(self):
        batch = weather()
        data = record.encode(batch)
        same(self, record.decode(data), batch)
        self.assertEqual(record.encode(record.decode(data)), data)

    def test_missing_values_keep_their_reason(self):
        batch = weather(4)
        batch.columns[1] = [None, 4513, None, None]
        batch.quality[1] = [quality.ABSENT, 0, quality.CRC, quality.CRC]
        batch.quality[0] = [0, 0, quality.OUTLIER, 0]
        same(self, record.decode(record.encode(batch)), batch)

    def test_extremes(self):
        batch = weather(3)
        most = record.VALUE_MAX
        batch.columns[0] = [most, -most, most]
        batch.boot = batch.seq = 0xFFFFFFFF
        batch.times = [0, 1 << 47, 5]
        batch.dated = False
        same(self, record.decode(record.encode(batch)), batch)

    def test_bytes_of_one_value(self):
        batch = record.Batch(b"\x01\x02\x03\x04", 300, 1)
        batch.times, batch.columns, batch.quality = [1000, 2000], [[-1, 1]], [[0, 0]]
        expected = b"\x01\x00\x01\x02\x03\x04\xac\x02\x01\x02\x01\xe8\x07\xd0\x0f\x01\x04"
        self.assertEqual(record.encode(batch), expected)

    def test_the_encoder_refuses_what_the_decoder_would(self):
        for spoil, code in (
            (lambda b: b.columns[0].append(1), "batch-shape"),
            (lambda b: b.columns.pop(), "batch-shape"),
            (lambda b: b.times.clear(), "batch-shape"),
            (lambda b: put(b.columns, None), "batch-quality"),
            (lambda b: put(b.quality, quality.CRC), "batch-quality"),
            (lambda b: put(b.columns, record.VALUE_MAX + 1), "batch-value"),
        ):
            batch = weather(3)
            spoil(batch)
            try:
                record.encode(batch)
                self.assertTrue(False, "accepted")
            except record.RecordError as error:
                self.assertEqual(error.code, code)


class TestHostile(unittest.TestCase):
    def test_every_truncation_is_refused(self):
        data = record.encode(weather(4))
        for size in range(len(data)):
            self.assertIn(code_of(self, data[:size]), ("batch-short", "batch-shape"))

    def test_trailing_bytes(self):
        self.assertEqual(code_of(self, record.encode(weather()) + b"\0"), "batch-trailing")

    def test_every_flipped_bit_is_refused_or_reencodes_to_itself(self):
        data = record.encode(weather(3))
        for at in range(len(data)):
            for bit in range(8):
                changed = bytearray(data)
                changed[at] ^= 1 << bit
                try:
                    batch = record.decode(changed)
                except record.RecordError:
                    continue
                self.assertEqual(record.encode(batch), bytes(changed))

    def test_codes(self):
        good = record.encode(weather(3))
        head = good[:6]
        for data, code in (
            (b"", "batch-short"),
            (b"\x02" + good[1:], "batch-kind"),
            (b"\x01\x80" + good[2:], "batch-flags"),
            (head + b"\xff\xff\xff\xff\x7f", "batch-range"),
            (head + b"\x80\x00", "batch-form"),
            (head + b"\x01\x01\xff\x01\x20" + b"\0" * 50, "batch-shape"),
            (head + b"\x01\x01\x00\x01" + b"\0" * 50, "batch-shape"),
            (head + b"\xff" * 40, "batch-range"),
            (b"\x01" + b"\0" * record.MAX_BYTES, "batch-size"),
            (b"\x01\x04" + good[2:6] + b"\x01\x01\x01\x01\x01\0\0", "batch-form"),
        ):
            self.assertEqual(code_of(self, data), code)


class TestLater(unittest.TestCase):
    def test_an_undated_batch_is_dated_by_its_own_boot_only(self):
        batch = weather(3)
        batch.dated = False
        batch.times = [1000, 2000, 3001]
        batch.stride = 2
        data = record.encode(batch)
        self.assertIsNone(record.date(data, 8, START_MS))
        dated = record.date(memoryview(data), 7, START_MS)
        batch.dated = True
        batch.times = [START_MS + 1000, START_MS + 2000, START_MS + 3001]
        same(self, record.decode(dated), batch)
        self.assertIsNone(record.date(dated, 7, START_MS))

    def test_thinning_keeps_the_span_and_the_numbers(self):
        batch = weather()
        thin.pick(batch, 4)
        self.assertEqual([batch.seq_of(i) for i in range(batch.samples)], [1234, 1238, 1242])
        self.assertEqual(batch.times, weather().times[::4])
        self.assertEqual(batch.columns, [c[::4] for c in weather().columns])
        again = record.decode(record.encode(batch))
        thin.pick(again, 2)
        self.assertEqual([again.seq_of(i) for i in range(again.samples)], [1234, 1242])
        same(self, record.decode(record.encode(again)), again)

    def test_encoding_allocates_nothing(self):
        import micropython

        batch, writer = weather(), record.Writer(200)
        batch.times = [1000 * i for i in range(12)]  # 48-bit times are big integers on a chip
        record.encode_into(batch, writer)
        micropython.heap_lock()
        try:
            size = record.encode_into(batch, writer)
        finally:
            micropython.heap_unlock()
        self.assertEqual(bytes(writer.buffer[:size]), record.encode(batch))


class TestMeaning(unittest.TestCase):
    def test_schema_round_trip(self):
        fields = record.read_schema(SCHEMA)
        self.assertEqual(fields[0], ("temperature", "Cel", -2))
        self.assertEqual(record.make_schema(fields), SCHEMA)
        self.assertEqual(len(record.schema_id(SCHEMA)), 4)

    def test_schemas_that_are_none(self):
        from loader import cbor

        row = ["t", "Cel", 0]
        for document in (
            [],
            {"v": 2, "fields": [row]},
            {"v": 1, "fields": []},
            {"v": 1, "fields": [row] * 33},
            {"v": 1, "fields": [["t", "Cel"]]},
            {"v": 1, "fields": [["t", "Cel", True]]},
            {"v": 1, "fields": [["t", "Cel", 10]]},
        ):
            with self.assertRaises(record.RecordError):
                record.read_schema(cbor.encode(document))
        with self.assertRaises(record.RecordError):
            record.read_schema(b"\xff")

    def test_expand(self):
        batch = weather(2)
        batch.columns[2][1], batch.quality[2][1] = None, quality.TIMEOUT
        rows = senml.expand(batch, record.read_schema(SCHEMA))
        self.assertEqual(len(rows), 10)
        self.assertEqual(rows[0], ("temperature", "Cel", START_MS, 2150, -2, 0))
        self.assertEqual(rows[7], ("pressure", "Pa", START_MS + 60002, None, 0, quality.TIMEOUT))
        with self.assertRaises(ValueError):
            senml.expand(batch, record.read_schema(SCHEMA)[:4])

    def test_decimals_are_exact(self):
        for value, scale, text in (
            (2150, -2, "21.5"),
            (-5, -2, "-0.05"),
            (0, -3, "0"),
            (7, 2, "700"),
            (-1999, -3, "-1.999"),
            (100, -2, "1"),
        ):
            self.assertEqual(senml.to_decimal(value, scale), text)

    def test_json(self):
        batch = weather(2)
        batch.columns, batch.quality = batch.columns[:1], batch.quality[:1]
        text = senml.to_json(batch, [("t", "Cel", -2)], "dev1/")
        first = '[{"bn":"dev1/","bt":1763690000.123,"n":"t","u":"Cel","v":21.5},'
        self.assertEqual(text, first + '{"n":"t","u":"Cel","v":21.53,"t":60.002}]')

    def test_names(self):
        for name, good in (("air/t-1", True), ("", False), ("/t", False), ("a b", False)):
            self.assertEqual(config.is_name(name), good)
