"""What a battery node remembers over a sleep, as bytes with a CRC.

RTC memory has no checksum and keeps its bytes through resets of any kind, but not through a loss
of power; so anything may be found there, and what does not add up is as good as nothing. Times are
the uptime of this boot, which goes on while the chip sleeps: a boot number stands for one
power-on.

A connection that never came back (a hang that the watchdog ended) must not be forgotten with it,
or a dead broker would empty the battery by resets: `connecting` is set before the radio is
switched on and cleared after.
"""

import binascii

from loader import cbor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_VERSION = 1
_NUMBERS = (  # in the order in which they are packed
    "boot",  # boot number
    "up_ms",  # uptime when the sleep began
    "sleep_ms",  # how long it was to be
    "chip_s",  # the chip's own clock when the sleep began, -1 when it does not run then
    "offset_ms",  # Unix time - uptime, -1 while unknown
    "synced_ms",  # uptime of the last answer of a time server, -1 for none
    "next_seq",  # of the next row
    "event_seq",  # of the next event
    "awake_ms",  # awake since power-on: what a trial's deadline counts
    "acked",  # publishes acknowledged since power-on: what a trial's contract counts
    "wakes",
    "checked_ms",  # uptime of the last check for a release, -1 for none
    "connecting",  # 1, or 2 for an update check
    "untold",  # 1 while the fleet has not been told what started the device
    "errors",  # readings that sensors did not give in this wake
    "queue",  # permille of the outbox in use when it was last looked at
)


class WakeState:
    """Attributes as listed above; `schedule` is Scheduler.pack(), `batch` Batcher.keep()."""

    def __init__(self, boot: int = 0) -> None:
        self.boot = boot
        self.up_ms = self.sleep_ms = self.next_seq = self.event_seq = 0
        self.awake_ms = self.acked = self.wakes = self.connecting = self.untold = 0
        self.queue = self.errors = 0
        self.chip_s = self.offset_ms = self.synced_ms = self.checked_ms = -1
        self.schedule = b""
        self.batch = b""

    def uptime_ms(self, chip_s: int) -> int:
        """The uptime at which the wake began; `chip_s` is what the chip's clock says now.

        A clock that ran through the sleep knows better than the plan, unless somebody set it.
        """
        planned = self.up_ms + self.sleep_ms
        slept_s = chip_s - self.chip_s
        if self.chip_s >= 0 and 0 <= slept_s * 1000 <= 2 * self.sleep_ms + 60000:
            return self.up_ms + slept_s * 1000
        return planned


def pack(state: WakeState) -> bytes:
    values: list[Any] = [getattr(state, name) for name in _NUMBERS]
    body = cbor.encode([_VERSION, values, state.schedule, state.batch])
    return body + (binascii.crc32(body) & 0xFFFFFFFF).to_bytes(4, "big")


def unpack(data: "bytes | None") -> "WakeState | None":
    """The state in `data`, or None when it is not whole."""
    if not data or len(data) < 8:
        return None
    body = data[:-4]
    if binascii.crc32(body) & 0xFFFFFFFF != int.from_bytes(data[-4:], "big"):
        return None
    try:
        document = cbor.decode(body)
    except cbor.VerifyError:
        return None
    return _checked(document)


def _checked(document: "Any") -> "WakeState | None":
    if not isinstance(document, list) or len(document) != 4 or document[0] != _VERSION:
        return None
    _, values, schedule, batch = document
    if not isinstance(values, list) or len(values) != len(_NUMBERS):
        return None
    if not isinstance(schedule, bytes) or not isinstance(batch, bytes):
        return None
    state = WakeState()
    for name, value in zip(_NUMBERS, values):
        if not isinstance(value, int) or isinstance(value, bool):
            return None
        setattr(state, name, value)
    state.schedule, state.batch = schedule, batch
    return state
