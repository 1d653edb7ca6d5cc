"""node.drivers.pms5003 against the model. The manual has no worked frame: those here are built as
its appendices on the transport protocol say (their numbers not checked), one was sent by a
part."""

import unittest
from binascii import unhexlify
from struct import pack

from node.core import quality
from node.drivers import pms5003
from node.drivers.sensor import NotReady
from simulated_bus import Bench, bus, sensor_config


class Uart:
    """machine.UART over a model."""

    def __init__(self, bench):
        self.bench = bench
        self.kept = b""
        self.sent = []

    def any(self):
        self.kept += self.bench.part.pending(self.bench.now_ms)
        return len(self.kept)

    def readinto(self, buffer):
        size = min(len(buffer), self.any())
        buffer[:size] = self.kept[:size]
        self.kept = self.kept[size:]
        return size

    def write(self, data):
        self.sent.append(bytes(data))
        self.bench.part.received(bytes(data))


class Told:
    """A UART with just these bytes."""

    def __init__(self, data):
        self.data = data

    def any(self):
        return len(self.data)

    def readinto(self, buffer):
        buffer[0] = self.data[0]
        self.data = self.data[1:]

    def write(self, data):
        pass


def frame(*pm):
    body = pack(">BBH13H", 0x42, 0x4D, 28, 1, 2, 3, *(list(pm) + [0] * 7))
    return body + pack(">H", sum(body))


def read(data):
    driver = pms5003.Driver(Told(b""), sensor_config("pms5003"))
    driver.start()
    driver.bus.data = data
    out = [None] * 3
    driver.read_into(out)
    return out


class TestFrames(unittest.TestCase):
    def test_checksums_of_the_commands(self):
        for command in (pms5003.PASSIVE, pms5003.READ):
            self.assertEqual(sum(command[:5]), command[5] << 8 | command[6])

    def test_a_frame(self):
        self.assertEqual(read(frame(7, 8, 9)), [7, 8, 9])

    def test_a_frame_of_a_part(self):
        # Published with the tests of PyPMS; its reading there is 5, 13 and 22 as well
        head = "424d001c0005000d00160005000d0016"
        sent = unhexlify(head + "02fd00fc001d000f00060006970003c5")
        self.assertEqual(read(sent), [5, 13, 22])

    def test_behind_noise_and_half_a_frame(self):
        good = frame(7, 8, 9)
        for before in (b"\0\xff", b"\x42", b"\x42\x42", b"\x42\x4d", good[:3], good[:1] * 3):
            self.assertEqual(read(before + good), [7, 8, 9])

    def test_every_flipped_bit_is_seen(self):
        good = frame(7, 8, 9)
        for bit in range(8 * len(good)):
            bad = bytearray(good)
            bad[bit >> 3] ^= 1 << (bit & 7)
            self.assertRaises(pms5003.SensorError, read, bytes(bad))

    def test_fine_dust_is_part_of_coarse(self):
        self.assertRaises(pms5003.SensorError, read, frame(9, 8, 9))
        self.assertEqual(read(frame(0, 0, 0)), [0, 0, 0])
        self.assertEqual(read(frame(1000, 1000, 1000)), [1000, 1000, 1000])


class TestOnTheWire(unittest.TestCase):
    def setUp(self):
        self.bench = Bench("pms5003")
        self.uart = Uart(self.bench)
        self.driver = pms5003.Driver(self.uart, sensor_config("pms5003", options={"warming": 0}))

    def test_over_the_range(self):
        for pm in ((0, 0, 0), (5, 9, 12), (100, 350, 500), (999, 999, 1000)):
            for name, value in zip(("pm1_ug", "pm2_5_ug", "pm10_ug"), pm):
                self.bench.world[name] = value
            self.assertEqual(self.bench.read(self.driver), list(pm))
            self.bench.now_ms += 5000

    def test_it_is_told_once_to_be_quiet(self):
        for _ in range(3):
            self.bench.read(self.driver)
            self.bench.now_ms += 5000
        self.assertEqual(len(self.uart.sent), 4)
        self.assertEqual(self.uart.any(), 0)

    def test_reading_before_it_is_ready_is_refused(self):
        out = [None] * 3
        for start in (False, True):
            if start:
                self.driver.start()
            with self.assertRaises(NotReady):
                self.driver.read_into(out)
        self.assertEqual(out, [None] * 3)

    def test_one_that_ignores_commands(self):
        bench = Bench("pms5003", deaf=True)
        driver = pms5003.Driver(Uart(bench), sensor_config("pms5003"))
        for _ in range(3):
            self.assertEqual(bench.read(driver), [5, 9, 12])
            bench.now_ms += 700

    def test_first_readings_are_not_final(self):
        driver = pms5003.Driver(self.uart, sensor_config("pms5003", options={"warming": 2}))
        codes = []
        for _ in range(3):
            self.bench.read(driver)
            codes.append(driver.quality[1])
        self.assertEqual(codes, [quality.WARMING, quality.WARMING, quality.GOOD])

    def test_faults(self):
        for fault, code in (
            (bus.FAULT_ABSENT, quality.TIMEOUT),  # nobody answers on a UART: that is silence
            (bus.FAULT_STUCK, quality.TIMEOUT),
            (bus.FAULT_IMPLAUSIBLE, quality.IMPLAUSIBLE),
            (bus.FAULT_CRC, quality.CRC),
        ):
            self.bench.world["fault"] = fault
            self.assertEqual(self.bench.code(self.driver), code)
            self.driver.reset()
            self.bench.world["fault"] = 0
            self.assertEqual(self.bench.code(self.driver), 0)
