"""Runs a share of a sweep on the VM and prints one line per result; called by
tests/faults/runner.py.

    micropython sweep.py <inputs.cbor> <scenario> <board> <share> <path>...

A share is singles:<first>:<step> (each operation, each mode), until:<first>:<step> (the same up to
the first failure), pairs:<first>:<step> (every operation of the life after every first cut),
random:<seed>:<count> (lives with up to five cuts), or an id: "12t" or "12t+3a", each cut being
operations after the one before and the first letter of the mode. Lines: "@fail <id> <kind>
<detail>", "@at <done>", and at the end "@end <lives with one cut> <with more> <largest refetch>
<operations of a life without cuts>".
"""

# ruff: noqa: UP031 - MicroPython

import sys

for _path in sys.argv[5:]:
    sys.path.append(_path)

from device import Wrong, live  # noqa: E402
from loader import cbor  # noqa: E402
from nor import MODES  # noqa: E402
from story import Story  # noqa: E402

_PAIR_MODES = ("torn", "after")


def name_of(cuts):
    return "+".join(["%d%s" % (at, mode[0]) for at, mode in cuts])


def cuts_of(name):
    letters = {mode[0]: mode for mode in MODES}
    return [(int(part[:-1]), letters[part[-1]]) for part in name.split("+")]


class Sweep:
    def __init__(self, story):
        self._story = story
        self.single = self.multiple = self.refetched_max = 0
        self.failures = 0

    def cut(self, cuts):
        """Live once with these cuts; the operations after the last one, 0 when it went wrong."""
        if len(cuts) > 1:
            self.multiple += 1
        else:
            self.single += 1
        if (self.single + self.multiple) % 500 == 0:
            print("@at", self.single + self.multiple)
        try:
            _, after, refetched = self._story.tell(live, cuts)
        except Wrong as wrong:
            self.failures += 1
            print("@fail", name_of(cuts), wrong.kind, wrong.detail)
            return 0
        self.refetched_max = max(self.refetched_max, refetched)
        return after

    def singles(self, total, first, step):
        for at in range(1 + first, total + 1, step):
            for mode in MODES:
                self.cut([(at, mode)])

    def until(self, total, first, step):
        """Singles, until one goes wrong: for planted defects."""
        for at in range(1 + first, total + 1, step):
            for mode in MODES:
                self.cut([(at, mode)])
                if self.failures:
                    return

    def pairs(self, total, first, step, modes=_PAIR_MODES):
        for at in range(1 + first, total + 1, step):
            for mode in modes:
                after = self.cut([(at, mode)])
                for second in range(1, after + 1):
                    for mode2 in modes:
                        self.cut([(at, mode), (second, mode2)])

    def tornpairs(self, total, first, step):
        """The same with torn cuts only: a quarter of the lives."""
        self.pairs(total, first, step, ("torn",))

    def random(self, total, seed, count):
        import random

        random.seed(seed)
        for _ in range(count):
            cuts = [
                (
                    random.randrange(1, total + 1) if not n else _near(random, total),
                    random.choice(MODES),
                )
                for n in range(random.randrange(2, 6))
            ]
            self.cut(cuts)


def _near(random, total):
    """Later cuts come soon after the one before as often as not: recovery is short."""
    return random.randrange(1, 30 if random.getrandbits(1) else total)


def main(inputs_path, scenario, board, share):
    kind = Story
    if scenario.startswith("runtime"):
        from runtime_story import RuntimeStory

        kind = RuntimeStory
    with open(inputs_path, "rb") as file:
        story = kind(cbor.decode(file.read()), scenario, board)
    total = 0
    sweep = Sweep(story)
    try:
        total = story.tell(live)[0]
    except Wrong as wrong:
        print("@fail clean", wrong.kind, wrong.detail)
    verb, _, rest = share.partition(":")
    if total and rest:
        first, _, second = rest.partition(":")
        getattr(sweep, verb)(total, int(first), int(second))
    elif total and share != "clean":
        sweep.cut(cuts_of(share))
    print("@end", sweep.single, sweep.multiple, sweep.refetched_max, total)


main(*sys.argv[1:5])
