"""loader.choose: the whole table. Every combination of record, cause and broken slots is asked."""

import unittest

from loader import layout
from loader.choose import choose

FAULTS = ("watchdog", "hard", "exception", "unhealthy")
OTHERS = ("power_on", "brown_out", "deep_sleep", "planned", "soft")
TRIES = 3
STARTS = 50


def states():
    """Every trial record that can be, around its limits; [] is no trial."""
    yield []
    for slot in (0, 1):
        for tries in range(TRIES + 2):
            for starts in (0, 1, 2, STARTS - 1, STARTS, STARTS + 1):
                yield [slot, b"digest", "1.1.0", tries, starts]


def table():
    for confirmed in (0, 1):
        for trial in states():
            for cause in FAULTS + OTHERS:
                for bad in range(4):
                    yield confirmed, trial, cause, bad


def expected(confirmed, trial, cause, bad):
    """The rules again, in the order in which a person would tell them."""
    other = 1 - confirmed
    tries = trial[3] if trial else 0
    if trial and trial[4] > 0 and cause in FAULTS:
        tries += 1
    if trial:
        exhausted = tries >= TRIES or trial[4] >= STARTS
        if not exhausted and trial[0] == other and not bad & (1 << other):
            return ("trial", other, tries, False, False)
    else:
        exhausted = False
    over = bool(trial)
    if not bad & (1 << confirmed):
        return ("confirmed", confirmed, tries, over, exhausted)
    if not exhausted and not bad & (1 << other):
        return ("fallback", other, tries, over, exhausted)
    return ("safe", -1, tries, over, exhausted)


class TestTable(unittest.TestCase):
    def test_every_row(self):
        rows = 0
        for confirmed, trial, cause, bad in table():
            row = (confirmed, trial, cause, bad)
            self.assertEqual((row, choose(*row)), (row, expected(*row)))
            rows += 1
        self.assertEqual(rows, 2 * (1 + 2 * 5 * 6) * 9 * 4)

    def test_never_a_slot_that_is_known_to_be_bad(self):
        for confirmed, trial, cause, bad in table():
            slot = choose(confirmed, trial, cause, bad)[1]
            self.assertTrue(slot < 0 or not bad >> slot & 1)

    def test_ends_within_three_questions(self):
        for confirmed, trial, cause, _ in table():
            bad, asked = 0, 0
            while True:
                slot = choose(confirmed, trial, cause, bad)[1]
                asked += 1
                if slot < 0:
                    break
                bad |= 1 << slot
            self.assertTrue(asked <= 3)

    def test_the_causes_are_layouts(self):
        self.assertEqual(layout.FAULTS, FAULTS)


class TestTrial(unittest.TestCase):
    def test_three_faults_end_it(self):
        trial = [1, b"digest", "1.1.0", 0, 0]
        modes = []
        for cause in ("planned", "watchdog", "exception", "unhealthy", "power_on"):
            mode, _, tries, over, failed = choose(0, trial, cause, 0)
            modes.append((mode, tries, over, failed))
            trial[3] = tries
            trial[4] += 1
        self.assertEqual(
            modes[:4],
            [
                ("trial", 0, False, False),
                ("trial", 1, False, False),
                ("trial", 2, False, False),
                ("confirmed", 3, True, True),
            ],
        )

    def test_power_does_not_spend_a_try(self):
        for cause in OTHERS:
            self.assertEqual(choose(0, [1, b"", "", 2, 9], cause, 0)[:3], ("trial", 1, 2))

    def test_a_fault_of_the_old_release_does_not_either(self):
        # power was cut between arming the trial and the planned reset; then the old one hung
        self.assertEqual(choose(0, [1, b"", "", 2, 0], "watchdog", 0)[:3], ("trial", 1, 2))

    def test_no_trial_is_for_ever(self):
        self.assertEqual(choose(0, [1, b"", "", 0, STARTS - 1], "power_on", 0)[0], "trial")
        self.assertEqual(
            choose(0, [1, b"", "", 0, STARTS], "power_on", 0), ("confirmed", 0, 0, True, True)
        )

    def test_a_broken_slot_on_trial_is_not_the_releases_fault(self):
        self.assertEqual(
            choose(0, [1, b"", "", 1, 1], "power_on", 2), ("confirmed", 0, 1, True, False)
        )

    def test_a_failed_release_is_not_a_fallback(self):
        self.assertEqual(choose(0, [1, b"", "", 3, 4], "power_on", 1)[0], "safe")
