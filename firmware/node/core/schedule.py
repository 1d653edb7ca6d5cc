"""When to wake, whether to connect: the one scheduler of both power modes.

Pure and in integers. The device runs it at each wake; `outpost power` runs the same code over a
scenario to predict a battery's life, and the simulated board's meter checks the prediction.

Theory. A battery node spends its charge in four places: asleep (microamps, always), on the boot
and sampling of each wake, on each connection (tens of times a wake), and on connections that
fail (the whole awake budget for nothing). The budget gives an allowed average current:

    allowed_ua = capacity_uah / target_hours
    average_ua = sleep_ua + (wake_uas + connect_uas / k) / interval_s

so the scheduler picks the smallest k (wakes per connection: the freshest data) whose average
fits (without a budget, the k that `publish_s` asks for), and only when even the largest k does
not fit stretches the interval. What a wake and a connection cost is learnt from what they did
cost, so a bad access point raises k by itself.
Failures back off across sleeps: the pause doubles up to a cap, and is never shorter than k
wakes. A battery below `low_mv` counts as half the budget, below `critical_mv` the radio stays
off but for one connection a day, so that the last thing a fleet hears is not silence.
"""

import struct

from loader.cbor import VerifyError
from micropython import const

_STATE = "<BBHHIIhH"  # version, failures, since_connect, k, wake_uas, connect_uas, rssi, mv
_STATE_VERSION = const(1)
STATE_BYTES = struct.calcsize(_STATE)
_DAY_S = const(86400)
_FAILURE_CAP = const(8)
_WEAK_DBM = const(-85)
_LEARN = const(8)  # one eighth of each new cost goes into the estimate
_MAX_STRETCH = const(8)
_WAKE_GUESS_MS = const(500)  # until a wake has been measured
_CONNECT_GUESS_MS = const(3000)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Plan:
    """What the product asks for, and what the board costs. Bounded by its builder (config).

    interval_s            between two samples
    connect_every         the largest number of wakes between two connections
    awake_ms              a wake never lasts longer, whatever happens
    publish_s             without a budget: a connection as often as this
    capacity_mah, target_days   the budget; 0 days: no budget
    low_mv, critical_mv   battery thresholds; 0: not measured
    sleep_ua              the board's deep-sleep current, sensors included
    wake_uas, connect_uas first estimates of a wake and of a connection, in microampere-seconds
    """

    def __init__(self, fields: "dict[str, Any]") -> None:
        self.interval_s: int = fields["interval_s"]
        self.connect_every: int = fields["connect_every"]
        self.awake_ms: int = fields["awake_ms"]
        self.publish_s: int = fields.get("publish_s", 0)
        self.capacity_mah: int = fields.get("capacity_mah", 0)
        self.target_days: int = fields.get("target_days", 0)
        self.low_mv: int = fields.get("low_mv", 0)
        self.critical_mv: int = fields.get("critical_mv", 0)
        self.sleep_ua: int = fields.get("sleep_ua", 0)
        self.wake_uas: int = fields.get("wake_uas", 0)
        self.connect_uas: int = fields.get("connect_uas", 0)

    def allowed_ua(self) -> int | None:
        """The average current the budget allows, in microamperes; None without a budget."""
        if not self.target_days or not self.capacity_mah:
            return None
        return self.capacity_mah * 1000 // (self.target_days * 24)


def plan_for(product: "Any", board: "Any", desired: "Any" = None) -> Plan:
    """The plan of a product (the map of product.cbor) on a board (that of board-<board>.cbor).
    `desired` are settings that the fleet wants instead."""
    desired = desired or {}
    battery = product.get("battery", {})
    current = board["current_ua"]
    connecting_ua = current["active"] + current["radio_connecting"]
    return Plan(
        {
            "interval_s": desired.get("sample_s", product["telemetry"]["sample_s"]),
            "connect_every": desired.get("power.connect_every", battery.get("connect_every", 12)),
            "publish_s": desired.get("publish_s", product["telemetry"].get("publish_s", 0)),
            "awake_ms": battery.get("awake_s", 20) * 1000,
            "capacity_mah": battery.get("capacity_mah", 0),
            "target_days": battery.get("target_days", 0),
            "low_mv": battery.get("low_mv", 0),
            "critical_mv": battery.get("critical_mv", 0),
            "sleep_ua": current["deep_sleep"],
            "wake_uas": (board["wake_ms"] + _WAKE_GUESS_MS) * current["active"] // 1000,
            "connect_uas": _CONNECT_GUESS_MS * connecting_ua // 1000,
        }
    )


class Decision:
    """What this wake does: connect or not, and how long to sleep after it (s)."""

    def __init__(self, connect: bool, sleep_s: int, why: str) -> None:
        self.connect = connect
        self.sleep_s = sleep_s
        self.why = why


class Scheduler:
    """Decide wake by wake. `state` is what `pack()` gave before the sleep, or None when cold."""

    def __init__(self, plan: Plan, state: bytes | None = None) -> None:
        self.plan = plan
        self.failures = 0
        self.since_connect = plan.connect_every  # a cold start says hello
        self.k = 1
        self.wake_uas = plan.wake_uas
        self.connect_uas = plan.connect_uas
        self.rssi_dbm = 0
        self.battery_mv = 0
        if state is not None:
            self._unpack(state)

    def pack(self) -> bytes:
        """The state for RTC memory: STATE_BYTES long."""
        return struct.pack(
            _STATE,
            _STATE_VERSION,
            self.failures,
            min(self.since_connect, 0xFFFF),
            self.k,
            min(self.wake_uas, 0xFFFFFFFF),
            min(self.connect_uas, 0xFFFFFFFF),
            self.rssi_dbm,
            self.battery_mv,
        )

    def decide(self, queue_permille: int, battery_mv: int | None, urgent: bool) -> Decision:
        """Decide this wake. `queue_permille`: how full the outbox is; `urgent`: an event waits."""
        self.battery_mv = battery_mv or 0
        self.since_connect += 1
        sleep_s = self.interval_s()
        connect, why = self._connect(queue_permille, urgent, sleep_s)
        return Decision(connect, sleep_s, why)

    def interval_s(self) -> int:
        """What `decide` says of the sleep: the interval, stretched as the budget wants it."""
        return self.plan.interval_s * self._budget()

    def next_s(self) -> int:
        """How long it should be until the next connection, when all goes well."""
        interval_s = self.interval_s()
        return max(_DAY_S, interval_s) if self._critical() else self.k * interval_s

    def connected(self, cost_uas: int, rssi_dbm: int) -> None:
        """A connection delivered; it cost this much beyond the bare wake."""
        self.failures = 0
        self.since_connect = 0
        self.rssi_dbm = rssi_dbm
        self.connect_uas += (cost_uas - self.connect_uas) // _LEARN

    def failed(self, cost_uas: int) -> None:
        """A connection failed after spending this much."""
        self.failures = min(_FAILURE_CAP, self.failures + 1)
        self.since_connect = 0
        self.connect_uas += (cost_uas - self.connect_uas) // _LEARN

    def woke(self, cost_uas: int) -> None:
        """A wake without the radio cost this much."""
        self.wake_uas += (cost_uas - self.wake_uas) // _LEARN

    # --- inside

    def _critical(self) -> bool:
        return 0 < self.battery_mv < self.plan.critical_mv

    def _budget(self) -> int:
        """Set `k`; return the factor by which the interval is stretched."""
        allowed = self.plan.allowed_ua()
        low = 0 < self.battery_mv < self.plan.low_mv
        if allowed is None:
            self.k = self.plan.connect_every if low else self._paced()
            return 2 if self._critical() else 1
        if low:
            allowed //= 2
        for stretch in range(1, _MAX_STRETCH + 1):
            k = self._smallest_k(allowed - self.plan.sleep_ua, self.plan.interval_s * stretch)
            if k is not None:
                self.k = k
                return stretch
        self.k = self.plan.connect_every
        return _MAX_STRETCH

    def _paced(self) -> int:
        """`k` for a connection every `publish_s`."""
        plan = self.plan
        return max(1, min(plan.connect_every, plan.publish_s // plan.interval_s))

    def _smallest_k(self, spare_ua: int, interval_s: int) -> int | None:
        """The smallest k whose average fits into `spare_ua` at this interval, or None."""
        for_radio_uas = spare_ua * interval_s - self.wake_uas
        if for_radio_uas <= 0:
            return None
        k = max(1, (self.connect_uas + for_radio_uas - 1) // for_radio_uas)
        return k if k <= self.plan.connect_every else None

    def _connect(self, queue_permille: int, urgent: bool, sleep_s: int) -> "tuple[Any, ...]":
        day = max(1, _DAY_S // sleep_s)
        if self._critical():
            return self.since_connect >= day, "battery"
        if self.failures:
            pause = min(day, self.k << self.failures)
            return self.since_connect >= pause, "backoff"
        if urgent:
            return True, "urgent"
        if queue_permille >= 750:
            return True, "queue"
        k = self.k * 2 if self.rssi_dbm < _WEAK_DBM else self.k
        return self.since_connect >= min(k, self.plan.connect_every), "due"

    def _unpack(self, state: bytes) -> None:
        if len(state) != STATE_BYTES or state[0] != _STATE_VERSION:
            raise VerifyError("schedule_state")
        _, self.failures, self.since_connect, self.k, wake, connect, rssi, mv = struct.unpack(
            _STATE, state
        )
        self.wake_uas, self.connect_uas, self.rssi_dbm, self.battery_mv = wake, connect, rssi, mv
