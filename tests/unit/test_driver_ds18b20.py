"""node.drivers.ds18b20 against table 1 of its data sheet, its CRC's example and the model."""

import unittest
from binascii import hexlify

from node.core import quality
from node.drivers import ds18b20
from node.drivers.sensor import NotReady, SensorError
from simulated_bus import Bench, bus, sensor_config

# Data sheet 19-7487 revision 6, table 1: temperature in ten-thousandths, digital output
TABLE_1 = (
    (1250000, 0x07D0),
    (850000, 0x0550),
    (250625, 0x0191),
    (101250, 0x00A2),
    (5000, 0x0008),
    (0, 0x0000),
    (-5000, 0xFFF8),
    (-101250, 0xFF5E),
    (-250625, 0xFE6F),
    (-550000, 0xFC90),
)
POWER_ON = bytearray(b"\x50\x05\x4b\x46\x7f\xff\x0c\x10")


class Wire:
    """onewire.OneWire over the models' bus."""

    def __init__(self, *benches):
        self.lines = bus.OneWireBus()
        for bench in benches:
            self.lines.add(bench.part)
            bench.part.now_ms = lambda: benches[0].now_ms
        self.reset = self.lines.reset
        self.readbit = self.lines.read_bit
        self.writebit = self.lines.write_bit

    def writebyte(self, value):
        for at in range(8):
            self.writebit(value >> at & 1)

    def write(self, data):
        for byte in data:
            self.writebyte(byte)

    def readinto(self, buffer):
        for index in range(len(buffer)):
            buffer[index] = sum([self.readbit() << at for at in range(8)])


class Wiring:
    """The board: what a driver with a pin of its own is given."""

    def __init__(self, wire):
        self.wire = wire
        self.asked = []

    def onewire(self, pin):
        self.asked.append(pin)
        return self.wire


def probe(serial, **more):
    return Bench("ds18b20", rom="28" + serial, **more)


def scratchpad(raw, config=0x7F):
    data = bytearray(POWER_ON)
    data[0], data[1], data[4] = raw & 0xFF, raw >> 8, config
    return data + bytes((ds18b20.crc8(data),))


class TestConversion(unittest.TestCase):
    def test_table_1(self):
        for celsius, raw in TABLE_1:
            value = ds18b20.celsius_hundredths(raw & 0xFF, raw >> 8)
            self.assertAlmostEqual(value * 100, celsius, delta=50)

    def test_crc_example(self):
        # Application note 27: the ROM A2 00000001B81C 02, CRC A2
        self.assertEqual(ds18b20.crc8(b"\x02\x1c\xb8\x01\0\0\0"), 0xA2)
        self.assertEqual(ds18b20.crc8(b"\x02\x1c\xb8\x01\0\0\0\xa2"), 0)

    def test_undefined_bits_of_a_low_resolution_do_not_count(self):
        self.assertEqual(ds18b20.celsius_hundredths(0x57, 0x01, 0), 2100)
        self.assertEqual(ds18b20.celsius_hundredths(0x5F, 0x01, 0), 2150)

    def test_scratchpads(self):
        for data, code in (
            (scratchpad(0x0191), quality.GOOD),
            (scratchpad(0x0550), quality.IMPLAUSIBLE),  # power-on value
            (scratchpad(0x0551), quality.GOOD),
            (bytearray(9), quality.IMPLAUSIBLE),  # its CRC is right
            (bytearray(b"\xff" * 9), quality.ABSENT),
            (scratchpad(0x07D0), quality.GOOD),
            (scratchpad(0x07D1), quality.IMPLAUSIBLE),
            (scratchpad(0xFC90), quality.GOOD),
            (scratchpad(0xFC8F), quality.IMPLAUSIBLE),
            (scratchpad(0x0191, 0x00), quality.IMPLAUSIBLE),
        ):
            self.assertEqual(ds18b20.judge(data), code)

    def test_every_flipped_bit_is_seen(self):
        for bit in range(72):
            data = scratchpad(0x0191)
            data[bit >> 3] ^= 1 << (bit & 7)
            self.assertNotEqual(ds18b20.judge(data), quality.GOOD)


class TestSearch(unittest.TestCase):
    def test_every_rom_is_found(self):
        serials = ("000000000000", "010000000000", "000000000080", "ffffffffffff", "0123456789ab")
        for count in range(1, len(serials) + 1):
            benches = [probe(serial) for serial in serials[:count]]
            found = ds18b20.search(Wire(*benches))
            self.assertEqual(found, sorted(bench.part.rom for bench in benches))

    def test_another_family_is_passed_over(self):
        other = Bench("ds18b20", rom="01aabbccddeeff")
        mine = probe("000000000001")
        self.assertEqual(ds18b20.search(Wire(mine, other)), [mine.part.rom])

    def test_a_spoiled_rom(self):
        bench = probe("000000000001")
        bench.part.rom = bench.part.rom[:7] + b"\0"
        with self.assertRaises(SensorError) as caught:
            ds18b20.search(Wire(bench))
        self.assertEqual(caught.exception.code, quality.CRC)

    def test_more_probes_than_can_be_end_the_search(self):
        benches = [probe("0000000000%02x" % at) for at in range(20)]
        self.assertEqual(len(ds18b20.search(Wire(*benches))), ds18b20.MAX_PROBES)


class TestOneProbe(unittest.TestCase):
    def setUp(self):
        self.bench = probe("0123456789ab")
        self.driver = ds18b20.Driver(Wire(self.bench), sensor_config("ds18b20"))

    def test_over_the_range(self):
        for celsius in (-5500, -1, 0, 2150, 8490, 8510, 12500):
            self.bench.world["temperature_mc"] = celsius * 10
            self.assertAlmostEqual(self.bench.read(self.driver)[0], celsius, delta=4)

    def test_reading_before_it_is_ready_is_refused(self):
        out = [None]
        for wait_ms in (None, 0, 700):
            if wait_ms is not None:
                self.driver.start()
                self.bench.now_ms += wait_ms
            with self.assertRaises(NotReady):
                self.driver.read_into(out)
        self.assertEqual(out, [None])

    def test_a_conversion_that_power_cut_short_is_refused(self):
        self.driver.start()
        self.bench.now_ms += 10
        self.bench.part.power_on()
        with self.assertRaises(SensorError) as caught:
            self.driver.read_into([None])
        self.assertEqual(caught.exception.code, quality.IMPLAUSIBLE)

    def test_faults(self):
        for fault, code in (
            (bus.FAULT_STUCK, quality.TIMEOUT),
            (bus.FAULT_IMPLAUSIBLE, quality.IMPLAUSIBLE),
            (bus.FAULT_CRC, quality.CRC),
            (bus.FAULT_ABSENT, quality.ABSENT),
        ):
            self.bench.world["fault"] = fault
            self.assertEqual(self.bench.code(self.driver), code)
            self.bench.world["fault"] = 0
            self.driver.reset()
            self.assertEqual(self.bench.code(self.driver), 0)

    def test_low_resolution(self):
        bench = probe("000000000001", bits=9)
        bench.world["temperature_mc"] = 21500
        driver = ds18b20.Driver(Wire(bench), sensor_config("ds18b20"))
        self.assertEqual(bench.read(driver), [2150])

    def test_on_a_pin_of_the_board(self):
        wiring = Wiring(Wire(self.bench))
        driver = ds18b20.Driver(wiring, sensor_config("ds18b20", pin="gpio4"))
        self.assertEqual(wiring.asked, [])
        self.bench.read(driver)
        self.bench.read(driver)
        self.assertEqual(wiring.asked, ["gpio4"])


class TestSeveralProbes(unittest.TestCase):
    def setUp(self):
        self.warm = probe("000000000002")
        self.cold = probe("000000000001")
        self.warm.world["temperature_mc"] = 60000
        self.cold.world["temperature_mc"] = 5000
        self.wire = Wire(self.warm, self.cold)

    def test_in_the_order_of_their_roms(self):
        config = sensor_config("ds18b20", options={"count": 2})
        driver = ds18b20.Driver(self.wire, config)
        self.assertEqual([row[0] for row in driver.CHANNELS], ["temperature_1", "temperature_2"])
        self.assertEqual(self.warm.read(driver), [500, 6000])

    def named(self):
        probes = {
            "supply": hexlify(self.warm.part.rom).decode(),
            "back": hexlify(self.cold.part.rom).decode(),
        }
        return sensor_config("ds18b20", options={"probes": probes})

    def test_by_name(self):
        driver = ds18b20.Driver(self.wire, self.named())
        self.assertEqual([row[0] for row in ds18b20.channels(self.named())], ["back", "supply"])
        self.assertEqual(self.warm.read(driver), [500, 6000])

    def test_one_that_fails_does_not_hide_the_other(self):
        driver = ds18b20.Driver(self.wire, self.named())
        for fault, code in ((bus.FAULT_CRC, quality.CRC), (bus.FAULT_ABSENT, quality.ABSENT)):
            self.cold.world["fault"] = fault
            self.assertEqual(self.warm.read(driver), [None, 6000])
            self.assertEqual(bytes(driver.quality), bytes((code, 0)))

    def test_probes_without_names_never_change_places(self):
        driver = ds18b20.Driver(self.wire, sensor_config("ds18b20", options={"count": 2}))
        self.cold.world["fault"] = bus.FAULT_ABSENT
        self.assertEqual(self.warm.code(driver), quality.ABSENT)
        driver = ds18b20.Driver(Wire(self.warm, self.cold), sensor_config("ds18b20"))
        self.cold.world["fault"] = 0
        self.assertEqual(self.warm.code(driver), quality.WRONG_PART)
