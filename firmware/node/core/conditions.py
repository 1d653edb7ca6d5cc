"""Whether now is the time to install: battery, power source, the hours that suit, and a person who
asked to wait.

A pure decision between "there is a release" and the first byte spent on it. Each condition that is
not met has a code, which the fleet shows with the offer; none of them can hold an update up for
ever without saying so.

    battery-low     charge below `min_battery_pct`
    not-powered     `external_power` wants a mains or USB supply, and there is none
    clock-unset     there are hours to keep to, and the device has not known the time for a day yet
    outside-window  not one of the hours to keep to
    deferred        somebody asked to wait, and the limit is not used up

Hours are minutes of the day in UTC, [from, to); to may be before from: over midnight. Within them
each device starts at its own minute (jitter from its id), so that a fleet does not come at once.
Deferral is counted in the seconds asked for, per release, on flash: a reboot gives nobody more of
it, and a wrong clock neither.
"""

import hashlib

from loader import cbor
from micropython import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_DAY_MIN = const(1440)
_CLOCK_PATIENCE_MS = const(86400000)


class Settings:
    """From the `update` table of the product; everything off by default."""

    def __init__(self, table: "dict[str, Any] | None" = None) -> None:
        table = table or {}
        self.min_battery_pct: int = table.get("min_battery_pct", 0)
        self.external_power: bool = table.get("external_power", False)
        window = table.get("window")
        self.window_min: "tuple[int, ...]" = window_of(window) if window else ()
        self.jitter_min: int = table.get("jitter_s", 0) // 60
        self.defer_limit_s: int = table.get("defer_limit_s", 7 * 86400)


def window_of(text: str) -> "tuple[int, int]":
    """ "01:30-05:00" as minutes of the day. Raises ValueError."""
    first, dash, last = text.partition("-")
    times = []
    for part in (first, last):
        hours, colon, minutes = part.partition(":")
        if not dash or not colon or not 0 <= int(hours) < 24 or not 0 <= int(minutes) < 60:
            raise ValueError(text)
        times.append(int(hours) * 60 + int(minutes))
    return times[0], times[1]


class Conditions:
    """`allowed` is for core.update.Config; `defer` for the command or button.

    `facts()` gives (battery in % or None, external power or None, Unix seconds or None, uptime in
    ms). A fact that the board does not have blocks nothing. `storage` keeps the deferral in
    `path`.
    """

    def __init__(
        self,
        settings: Settings,
        device_id: str,
        facts: "Callable[[], Any]",
        storage: "Any",
        path: str,
    ) -> None:
        self.settings = settings
        self._facts = facts
        self._storage = storage
        self._path = path
        spread = hashlib.sha256(device_id.encode()).digest()
        self._spread = spread[0] << 8 | spread[1]
        self.until_ms = -1  # of the uptime: deferred that long

    def allowed(self, release: "dict[str, Any]") -> str:
        """ "" or the code of the first condition that is not met."""
        battery, powered, unix_s, up_ms = self._facts()
        settings = self.settings
        if battery is not None and battery < settings.min_battery_pct and not powered:
            return "battery-low"
        if settings.external_power and powered is False:
            return "not-powered"
        if settings.window_min:
            if unix_s is None:
                if up_ms < _CLOCK_PATIENCE_MS:
                    return "clock-unset"
            elif not self._in_window(unix_s // 60 % _DAY_MIN):
                return "outside-window"
        if up_ms < self.until_ms:
            return "deferred"
        return ""

    def _in_window(self, minute: int) -> bool:
        first, last = self.settings.window_min[:2]
        length = (last - first) % _DAY_MIN or _DAY_MIN
        # at most half the window, so that nobody is left with too little of it
        late = self._spread % (min(self.settings.jitter_min, length // 2) + 1)
        return late <= (minute - first) % _DAY_MIN < length

    def defer(self, digest: bytes, seconds: int) -> int:
        """Wait so long from now, as far as the limit for this release goes; the seconds that were
        granted.
        """
        used = self._used(digest)
        granted = max(0, min(seconds, self.settings.defer_limit_s - used))
        if granted:
            self._storage.write_atomic(self._path, cbor.encode([digest, used + granted]))
            self.until_ms = self._facts()[3] + granted * 1000
        return granted

    def install_now(self) -> None:
        """The same person changed their mind."""
        self.until_ms = -1

    def _used(self, digest: bytes) -> int:
        data = self._storage.read(self._path)
        try:
            stored = cbor.decode(data) if data else None
        except cbor.VerifyError:
            stored = None
        if (
            type(stored) is list
            and len(stored) == 2
            and stored[0] == digest
            and type(stored[1]) is int
        ):
            return stored[1]
        return 0
