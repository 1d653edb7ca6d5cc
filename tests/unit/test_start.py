"""loader.start: reset causes by the chips' different accounts of them, and the board's facts."""

import unittest

from loader import start
from loaderbox import Box


class Esp32:
    PWRON_RESET = 1
    HARD_RESET = 2
    WDT_RESET = 3
    DEEPSLEEP_RESET = 4
    SOFT_RESET = 5


class Rp2:
    PWRON_RESET = 1
    WDT_RESET = 3


def cause_of(chip, value):
    machine = chip()
    machine.reset_cause = lambda: value
    return start.hardware_cause(machine)


class TestCause(unittest.TestCase):
    def setUp(self):
        self.box = Box()

    def tearDown(self):
        self.box.close()

    def test_hardware(self):
        causes = [cause_of(Esp32, value) for value in range(1, 6)]
        self.assertEqual(causes, ["power_on", "hard", "watchdog", "deep_sleep", "soft"])
        self.assertEqual([cause_of(Rp2, value) for value in (1, 3)], ["power_on", "watchdog"])
        self.assertEqual(cause_of(Rp2, 0), "hard")

    def refined(self, hardware, note):
        self.box.write("/outpost/note", note)
        return start.reset_cause(self.box.base, hardware)

    def test_without_a_note(self):
        for hardware in ("power_on", "watchdog", "hard", "deep_sleep", "soft", "brown_out"):
            self.assertEqual(start.reset_cause(self.box.base, hardware), (hardware, ""))

    def test_planned(self):
        for hardware in ("watchdog", "hard", "soft"):
            self.assertEqual(self.refined(hardware, b"update"), ("planned", "update"))
            self.assertEqual(self.refined(hardware, b"interrupt"), ("planned", "interrupt"))
            self.assertEqual(self.refined(hardware, b"sleep"), ("deep_sleep", "sleep"))
            self.assertEqual(self.refined(hardware, b"exception"), ("exception", "exception"))
            self.assertEqual(self.refined(hardware, b"unhealthy"), ("unhealthy", "unhealthy"))

    def test_a_note_does_not_outrank_the_loss_of_power(self):
        for hardware in ("power_on", "brown_out", "deep_sleep"):
            self.assertEqual(self.refined(hardware, b"exception"), (hardware, ""))


class TestFacts(unittest.TestCase):
    def setUp(self):
        self.box = Box()

    def tearDown(self):
        self.box.close()

    def test_board(self):
        facts = start.device_facts(self.box.base)
        self.assertEqual((facts["board"], facts["hw"], facts["wdt_ms"]), ("rpi_pico_w", 2, 8000))
        self.assertEqual(len(facts["micropython"]), 3)

    def test_a_damaged_board_file_is_no_board(self):
        for data in (b"", b"\xff", b"\xa0", b"x" * 9000):
            self.box.write("/outpost/board.cbor", data)
            self.assertEqual(start.device_facts(self.box.base)["product"], "")
