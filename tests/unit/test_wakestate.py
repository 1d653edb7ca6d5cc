"""What a battery node remembers over a sleep: whole or not at all."""

import unittest

from node.core import wakestate


def _state():
    state = wakestate.WakeState(7)
    state.up_ms, state.sleep_ms, state.chip_s = 5000000000, 900000, 800000000
    state.offset_ms = 1700000000123
    state.next_seq, state.connecting = 41, 1
    state.schedule, state.batch = b"schedule", b"\x01batch"
    return state


class WakeStateTest(unittest.TestCase):
    def test_round_trip(self):
        found = wakestate.unpack(wakestate.pack(_state()))
        self.assertEqual(vars_of(found), vars_of(_state()))

    def test_every_flipped_bit_is_nothing(self):
        good = wakestate.pack(_state())
        for at in range(len(good)):
            bad = bytearray(good)
            bad[at] ^= 0x10
            self.assertIsNone(wakestate.unpack(bytes(bad)))

    def test_every_cut_is_nothing(self):
        good = wakestate.pack(_state())
        for size in range(len(good)):
            self.assertIsNone(wakestate.unpack(good[:size]))
        self.assertIsNone(wakestate.unpack(None))

    def test_uptime_follows_a_clock_that_ran_through_the_sleep(self):
        state = _state()
        self.assertEqual(state.uptime_ms(800000903), 5000000000 + 903000)

    def test_uptime_follows_the_plan_when_the_clock_was_lost_or_set(self):
        state = _state()
        for chip_s in (0, 799999999, 800000000 + 86400):
            self.assertEqual(state.uptime_ms(chip_s), 5000000000 + 900000)
        state.chip_s = -1
        self.assertEqual(state.uptime_ms(800000903), 5000000000 + 900000)


def vars_of(state):
    names = [name for name in dir(state) if name[0] != "_" and name != "uptime_ms"]
    return [(name, getattr(state, name)) for name in sorted(names)]
