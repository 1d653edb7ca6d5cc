"""A segment file of the outbox and its name, which carries what must not be lost with the RAM.

`t0000002a` is the telemetry lane's segment 42; `t0000002a.29.1.c` is what thinning made of
segments 41 and 42: number, oldest number it stands for, how often it was thinned, samples given
up.
"""


class Segment:
    """A file: `first` is the oldest number it stands for, `lost` the samples thinned out of it."""

    def __init__(self, number: int, first: int = -1, level: int = 0, lost: int = 0) -> None:
        self.number = number
        self.first = number if first < 0 else first
        self.level = level
        self.lost = lost
        self.size = -1  # not known until it has been read or written

    def name(self, letter: str) -> str:
        if self.level == 0:
            return "%s%08x" % (letter, self.number)
        return "%s%08x.%x.%x.%x" % (letter, self.number, self.first, self.level, self.lost)


def parse_name(name: str) -> "Segment | None":
    """The segment that `name` is the file of, or None: something a power cut has left."""
    try:
        numbers = [int(part, 16) for part in name[1:].split(".")]
    except ValueError:
        return None
    if len(numbers) not in (1, 4):
        return None
    return Segment(*numbers)
