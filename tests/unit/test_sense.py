"""node.tasks.sense and publish over simulated parts, with a fake clock: the loop never stops."""

import asyncio
import unittest

from node.core import outbox, quality, record
from node.core.config import ProductConfig, schema_fields
from node.core.sampler import Sampler
from node.drivers.sensor import NotReady
from node.tasks import publish, sense
from node.tasks import stations as finding
from node.tasks.switched import Switched
from simulated_bus import I2C, Bench, bus
from test_outbox import Files

OFFSET_MS = 1763690000000


class Log:
    def __init__(self):
        self.lines = []

    def warning(self, text):
        self.lines.append(text)


def product(**more):
    raw = {
        "product": "weather",
        "telemetry": {"sample_s": 5, "publish_s": 15},
        "sensors": [{"name": "air", "driver": "bme280", "bus": "i2c0"}],
    }
    raw.update(more)
    return ProductConfig(raw)


class Rail:
    """hal.rail on the bench's clock; and the wiring that has it."""

    def __init__(self, bench):
        self.bench = bench
        self.users = 0
        self.spans = []

    def rail(self, name):
        self.name = name
        return self

    def take(self):
        self.users += 1
        self.since_ms = self.bench.now_ms

    def give(self):
        self.users -= 1
        self.spans.append(self.age_ms())

    def age_ms(self):
        return self.bench.now_ms - self.since_ms


class Rig:
    """A product with one BME280, everything from the bus to the outbox."""

    def __init__(self, config):
        self.bench = Bench("bme280")
        self.bus = I2C(self.bench)
        self.log = Log()
        self.offset_ms = None
        self.box = outbox.Outbox(Files(), outbox.OutboxConfig("/o"))
        self.box.open()
        columns = finding.columns_of(config)
        fields = schema_fields(config, lambda sensor: columns[config.sensors.index(sensor)])
        self.fields = fields
        self.schema = record.make_schema(fields)
        self.sampler = Sampler(config, columns, (record.schema_id(self.schema), 3))
        self.stations = finding.open_stations(config, {"i2c0": self.bus})
        ports = (lambda: self.bench.now_ms, lambda: self.offset_ms, self.log)
        self.task = sense.SenseTask(config, self.stations, self.sampler, self.box, ports)

    async def _sleep_ms(self, ms):
        self.bench.now_ms += ms

    def run(self, duration_ms, each=None):
        """Run the task on the bench's clock."""
        end_ms = self.bench.now_ms + duration_ms

        class Over(Exception):
            pass

        def beat():
            if self.bench.now_ms >= end_ms:
                raise Over
            if each is not None:
                each(self.bench.now_ms)

        real = getattr(asyncio, "sleep_ms", None)
        asyncio.sleep_ms = self._sleep_ms
        try:
            asyncio.run(self.task.run(beat))
        except Over:
            pass
        finally:
            if real is None:
                del asyncio.sleep_ms
            else:
                asyncio.sleep_ms = real

    def batches(self):
        got = []
        while True:
            found = self.box.next()
            if found is None:
                return got
            if found[1] == outbox.TELEMETRY:
                got.append(record.decode(found[2]))
            self.box.acked(found[0])


class TestSense(unittest.TestCase):
    def test_readings_become_batches(self):
        rig = Rig(product())
        rig.run(60000)
        batches = rig.batches()
        self.assertEqual([b.samples for b in batches][:2], [4, 4])
        first = batches[0]
        self.assertEqual((first.boot, first.seq, first.dated), (3, 0, False))
        self.assertAlmostEqual(first.columns[0][0], 2100, delta=1)
        self.assertAlmostEqual(first.columns[2][0], 101325, delta=2)
        self.assertEqual(batches[1].seq, 4)
        self.assertEqual(first.times[1] - first.times[0], 5000)

    def test_dated_when_the_clock_is_known(self):
        rig = Rig(product())
        rig.offset_ms = OFFSET_MS
        rig.run(20000)
        first = rig.batches()[0]
        self.assertTrue(first.dated)
        self.assertEqual(first.times[0] // 1000, (OFFSET_MS + 1000) // 1000)

    def test_a_failing_sensor_is_a_quality_code_and_a_pause(self):
        rig = Rig(product())
        rig.bench.world["fault"] = bus.FAULT_ABSENT
        rig.run(200000)
        self.assertLess(rig.task.errors["air"], 12)
        self.assertEqual(len(rig.log.lines), 1)
        rig.bench.world["fault"] = 0
        rig.run(400000)
        batches = rig.batches()
        self.assertEqual(batches[0].columns[0][0], None)
        self.assertEqual(batches[0].quality[0][0], quality.ABSENT)
        self.assertEqual(batches[-1].quality[0][-1], 0)
        self.assertEqual(len(rig.log.lines), 2)

    def test_every_fault_leaves_the_loop_running(self):
        rig = Rig(product())
        faults = (bus.FAULT_NAK, bus.FAULT_STUCK, bus.FAULT_IMPLAUSIBLE, bus.FAULT_HANG)
        rig.bus.recover = lambda: [rig.bus.lines.clock() for _ in range(9)]

        def each(now_ms):
            bad = now_ms % 120000 < 60000
            rig.bench.world["fault"] = faults[now_ms // 60000 % 4] if bad else 0

        rig.run(1200000, each)
        rig.bench.world["fault"] = 0
        rig.run(400000)
        self.assertEqual(rig.batches()[-1].quality[2][-1], 0)

    def test_a_switched_supply_is_on_and_warm_only_for_the_reading(self):
        rig = Rig(product())
        rail = Rail(rig.bench)
        driver = Switched(rig.stations[0].driver, rail, 300)
        rig.stations[0].driver = driver
        rig.run(20000)
        self.assertEqual(rail.users, 0)
        self.assertGreaterEqual(len(rail.spans), 4)
        self.assertTrue(all(300 <= span <= 400 for span in rail.spans))
        self.assertEqual(rig.batches()[-1].quality[0][-1], 0)
        rig.bench.world["fault"] = bus.FAULT_NAK
        rig.run(20000)
        self.assertEqual(rail.users, 0)

    def test_the_product_names_the_rail(self):
        sensor = {"name": "air", "driver": "bme280", "bus": "i2c0"}
        sensor["options"] = {"rail": "gpio21", "warm_ms": 50}
        bench = Bench("bme280")
        wiring = Rail(bench)
        found = finding.open_stations(product(sensors=[sensor]), {"": wiring, "i2c0": I2C(bench)})
        with self.assertRaises(NotReady):
            found[0].driver.start()
        self.assertEqual((wiring.name, wiring.users), ("gpio21", 1))

    def test_deadband_saves_rows(self):
        filters = {"air_%s" % n: {"deadband": 5} for n in ("temperature", "humidity", "pressure")}
        rig = Rig(product(filters=filters))
        rig.run(60000)
        rig.bench.world["temperature_mc"] = 22000
        rig.run(30000)
        batches = rig.batches()
        self.assertEqual(sum(b.samples for b in batches), 2)

    def test_an_alarm_is_an_event_and_raises_the_rate(self):
        filters = {"air_temperature": {"deadband": 50, "high": 3000}}
        filters["air_humidity"] = filters["air_pressure"] = {"deadband": 5000}
        rig = Rig(product(filters=filters))
        rig.run(60000)
        self.assertEqual(rig.sampler.taken, 1)
        rig.bench.world["temperature_mc"] = 31000
        rig.run(20000)
        self.assertGreater(rig.sampler.taken, 17)
        times, values = [], []
        for batch in self.telemetry(rig):
            times += batch.times
            values += batch.columns[0]
        self.assertEqual(times, sorted(times))
        # one when it began, eight from before the alarm that were no rows then, and those after
        hot = [value > 3000 for value in values]
        self.assertEqual(hot.index(True), 9)
        self.assertEqual([b - a > 4000 for a, b in zip(times[1:10], times[2:10])], [True] * 8)
        self.assertLess(max(b - a for a, b in zip(times[10:], times[11:])), 1300)
        found = rig.box.next()
        self.assertEqual(found[1], outbox.EVENT)
        from loader import cbor

        event = cbor.decode(bytes(found[2]))
        self.assertEqual(event["t"], "alarm")
        self.assertEqual((event["b"]["column"], event["b"]["alarm"]), ("air_temperature", "high"))

    def test_a_model_watches_the_rows(self):
        from loader import cbor
        from node.core.model import WARM_UP, Model
        from test_model import document

        rig = Rig(product())
        rig.sampler.watch(Model(document(columns=["air_temperature"])))
        rig.run(5000 * (WARM_UP + 4))
        self.assertFalse(rig.sampler.capturing)
        rig.bench.world["temperature_mc"] = 23000
        rig.run(10000)
        self.assertTrue(rig.sampler.capturing)
        found = rig.box.next()
        self.assertEqual(found[1], outbox.EVENT)
        event = cbor.decode(bytes(found[2]))
        self.assertEqual((event["b"]["alarm"], event["b"]["value"]), ("model", 16))
        with self.assertRaises(KeyError):
            rig.sampler.watch(Model(document(columns=["other"])))

    def telemetry(self, rig):
        """The batches of the outbox, which keeps them."""
        rig.task.close_batch()
        got = []
        while True:
            found = rig.box.next()
            if found is None:
                rig.box.rewind()
                return got
            if found[1] == outbox.TELEMETRY:
                got.append(record.decode(found[2]))

    def test_a_batch_of_any_shape_can_be_closed(self):
        from node.core.batcher import Batcher

        most = record.VALUE_MAX
        for columns in (1, 5, 32):
            batcher = Batcher(b"1234", 1, columns, (120, 60000))
            rows = 0
            while not batcher.due(0):
                values = [most if (rows + at) % 2 else -most for at in range(columns)]
                codes = [(rows + at) % 2 * quality.CLIPPED for at in range(columns)]
                batcher.add(values, codes, rows * 86400000 % 7777777)
                rows += 1
            payload, count = batcher.close(OFFSET_MS)
            self.assertEqual(count, rows)
            self.assertLess(len(payload), 2001)
            self.assertEqual(record.decode(payload).samples, rows)

    def test_the_interval_follows_the_signal(self):
        filters = {"air_%s" % n: {"deadband": 20} for n in ("temperature", "humidity", "pressure")}
        telemetry = {"sample_s": 60, "sample_min_s": 2, "publish_s": 600}
        rig = Rig(product(filters=filters, telemetry=telemetry))
        rig.run(600000)
        calm = rig.task.rounds
        self.assertLess(calm, 25)

        def warming(now_ms):
            rig.bench.world["temperature_mc"] = 21000 + (now_ms - 600000) // 20

        rig.run(180000, warming)
        self.assertGreater(rig.task.rounds - calm, 15)

    def test_calibration(self):
        sensor = {"name": "air", "driver": "bme280", "bus": "i2c0"}
        sensor["calibration"] = {"temperature": [1010000, -20]}
        rig = Rig(product(sensors=[sensor]))
        rig.run(20000)
        self.assertAlmostEqual(rig.batches()[0].columns[0][0], 2101, delta=1)

    def test_window_columns(self):
        filters = {"air_%s" % n: {"window": 4} for n in ("temperature", "humidity", "pressure")}
        rig = Rig(product(filters=filters))
        names = [field[0] for field in rig.fields]
        endings = ("", "_min", "_max", "_count")
        self.assertEqual(names[:4], ["air_temperature" + ending for ending in endings])
        rig.run(14000)
        rig.bench.world["temperature_mc"] = 22000
        rig.run(60000)
        rows = []
        for batch in rig.batches():
            for index in range(batch.samples):
                rows.append([column[index] for column in batch.columns[:4]])
        self.assertEqual(rows[0], [2100, 2100, 2100, 1])  # the first reading is news
        self.assertEqual(rows[1][1:], [2100, 2200, 4])
        self.assertAlmostEqual(rows[1][0], 2150, delta=1)
        self.assertEqual(rows[2], [2200, 2200, 2200, 4])


class Link:
    def __init__(self, room):
        self.room = room
        self.sent = []

    def publish(self, suffix, payload, qos, retain, token):
        if len(self.sent) >= self.room:
            return False
        self.sent.append((suffix, bytes(payload), token))
        return True


class TestPublish(unittest.TestCase):
    def test_back_pressure_and_dating(self):
        rig = Rig(product())
        rig.run(60000)
        depth = rig.box.depth
        source = publish.PublishSource(rig.box, 3, lambda: OFFSET_MS)
        link = Link(2)
        source.pull(link)
        source.pull(link)
        self.assertEqual(len(link.sent), 2)
        self.assertEqual(rig.box.depth, depth)
        link.room = 100
        source.pull(link)
        seqs = []
        for suffix, payload, token in link.sent:
            batch = record.decode(payload)
            self.assertEqual(suffix, "telemetry")
            self.assertTrue(batch.dated)
            seqs.append(batch.seq)
            source.acked(token)
        self.assertEqual(seqs, sorted(seqs))
        self.assertEqual((rig.box.depth, source.idle), (0, True))
        self.assertEqual(source.acknowledged, len(link.sent))

    def test_another_boot_is_not_dated(self):
        rig = Rig(product())
        rig.run(20000)
        link = Link(1)
        publish.PublishSource(rig.box, 4, lambda: OFFSET_MS).pull(link)
        self.assertFalse(record.decode(link.sent[0][1]).dated)
