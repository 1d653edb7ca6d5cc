"""Faults of the wires that every I2C driver must survive, as tests to inherit.

The user's `setUp` makes `bench`, `i2c` and `driver`; a reading fails with the code that the sense
task would count, and is good again when the fault is gone.
"""

from node.core import quality
from node.drivers.sensor import NotReady
from node.tasks.sense import code_of
from simulated_bus import bus


class WireFaults:
    def outcome(self):
        """The code of one reading; after a failure the driver is reset, as the task does."""
        try:
            self.bench.read(self.driver)
        except Exception as error:
            code = code_of(error)
            self.driver.reset()
            return code
        return quality.GOOD

    def good_again(self):
        self.bench.world["fault"] = 0
        self.bench.now_ms += 2000
        self.assertEqual(self.outcome(), quality.GOOD)

    def test_absent(self):
        self.bench.world["fault"] = bus.FAULT_ABSENT
        self.assertEqual(self.outcome(), quality.ABSENT)
        self.good_again()

    def test_absent_after_a_good_reading(self):
        self.assertEqual(self.outcome(), quality.GOOD)
        self.bench.world["fault"] = bus.FAULT_ABSENT
        self.assertEqual(self.outcome(), quality.ABSENT)
        self.good_again()

    def test_data_is_not_acknowledged(self):
        self.bench.world["fault"] = bus.FAULT_NAK
        self.assertEqual(self.outcome(), quality.ABSENT)
        self.good_again()

    def test_a_held_bus_until_it_is_clocked_free(self):
        self.bench.world["fault"] = bus.FAULT_HANG
        self.assertNotEqual(self.outcome(), quality.GOOD)
        self.bench.world["fault"] = 0
        self.assertEqual(self.outcome(), quality.BUS)
        for _ in range(9):
            self.i2c.lines.clock()
        self.good_again()

    def test_reading_without_a_start_is_refused(self):
        out = [None] * len(self.driver.CHANNELS)
        with self.assertRaises(NotReady):
            self.driver.read_into(out)
        self.assertEqual(out, [None] * len(self.driver.CHANNELS))
        self.bench.read(self.driver)
        with self.assertRaises(NotReady):
            self.driver.read_into(out)
