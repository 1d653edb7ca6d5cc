"""Why a reading can or cannot be trusted: one small code per value.

Codes 1..7 say that there is *no* value (a driver never makes one up); 8..15 come with a value that
must be taken with care. The codes travel in every packed batch, so a number here is never reused.
"""

from micropython import const

GOOD = const(0)
ABSENT = const(1)  # nothing answers at the address (NAK of the address, no presence pulse)
TIMEOUT = const(2)  # the part never became ready within its deadline
CRC = const(3)  # the part's own checksum is wrong
IMPLAUSIBLE = const(4)  # outside what the part can measure, or a known power-on value
BUS = const(5)  # the bus is held or the transfer broke off
WRONG_PART = const(6)  # another chip answers at this address
SKIPPED = const(7)  # not asked: the sensor is in its back-off
OUTLIER = const(8)  # a value far from its neighbours (Hampel)
CLIPPED = const(9)  # the value does not fit the record or the part's range
WARMING = const(10)  # the part says the value is not final (gas heater, first samples)

NAMES = (
    "good",
    "absent",
    "timeout",
    "crc",
    "implausible",
    "bus",
    "wrong-part",
    "skipped",
    "outlier",
    "clipped",
    "warming",
)
MAX = const(15)


def has_value(code: int) -> bool:
    """Whether a value comes with this code."""
    return code == GOOD or code >= OUTLIER


def name(code: int) -> str:
    """The code for people; unknown codes of a newer device by number."""
    return NAMES[code] if 0 <= code < len(NAMES) else "quality-%d" % code
