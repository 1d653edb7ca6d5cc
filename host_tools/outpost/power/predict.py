"""Runs node.core.schedule over a scenario and adds up the charge, by what it was spent on.

The scheduler is the device's own code, fed with what the device would measure. Charge is in
microampere-milliseconds, as the simulated board's meter has it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from node.core.schedule import Scheduler, plan_for

from outpost.boards import Board
from outpost.build.configure import board_map
from outpost.power.profile import Profile, Spell
from outpost.power.sensing import Sensing
from outpost.sim.scenario import Scenario

_UAMS_PER_MAH = 3_600_000_000
_DAY_MS = 86_400_000
_RSSI_DBM = -55
PARTS = ("sleep", "wake", "sensor", "connect", "failed")


@dataclass
class Prediction:
    """What `days` of a scenario cost. `daily_mah` is the running total at the end of each day."""

    elapsed_ms: int = 0
    wakes: int = 0
    connects: int = 0
    failures: int = 0
    capacity_mah: int = 0
    charge_uams: Counter[str] = field(default_factory=Counter)
    daily_mah: list[float] = field(default_factory=list)

    @property
    def total_mah(self) -> float:
        return sum(self.charge_uams.values()) / _UAMS_PER_MAH

    @property
    def average_ua(self) -> float:
        return sum(self.charge_uams.values()) / self.elapsed_ms if self.elapsed_ms else 0.0

    @property
    def life_days(self) -> float | None:
        """Days until the capacity is used up; None when the product names none."""
        if not self.capacity_mah or not self.average_ua:
            return None
        return self.capacity_mah * 1000 / self.average_ua / 24

    def as_dict(self) -> dict[str, Any]:
        return {
            "days": self.elapsed_ms / _DAY_MS,
            "average_ua": round(self.average_ua, 2),
            "life_days": round(self.life_days) if self.life_days else None,
            "capacity_mah": self.capacity_mah,
            "wakes": self.wakes,
            "connects": self.connects,
            "failures": self.failures,
            "charge_mah": {p: round(self.charge_uams[p] / _UAMS_PER_MAH, 5) for p in PARTS},
        }


class _Run:
    def __init__(
        self, product: Mapping[str, Any], board: Board, scenario: Scenario, sensing: Sensing | None
    ) -> None:
        cpu_mhz = product.get("power", {}).get("cpu_mhz", 0)
        self.profile = Profile(board, cpu_mhz, sensing)
        self.scenario = scenario
        self.current = board.chip.current_ua
        self.wake_ms = board.chip.boot.deepsleep_wake_ms
        plan = plan_for(dict(product), board_map(board))
        self.scheduler = Scheduler(plan)
        check_s = product.get("update", {}).get("check_s", 0)
        self.check_ms, self.checked_ms = 1000 * self.profile.check_s(check_s), -1
        self.found = Prediction(capacity_mah=plan.capacity_mah)

    def play(self) -> Prediction:
        found, end_ms = self.found, self.scenario.end_s * 1000
        self._spend("wake", self.profile.cold())
        while found.elapsed_ms < end_ms:
            began_ms = found.elapsed_ms
            sleep_ms = self._wake()
            awake_ms = found.elapsed_ms - began_ms
            # the device's clock starts after the boot, and again after that of a call
            seen_ms = awake_ms - self.profile.boot_ms
            left_ms = min(max(1000, sleep_ms - seen_ms), end_ms - found.elapsed_ms)
            self._sleep(max(0, left_ms))
        return found

    def _values(self) -> dict[str, int]:
        return self.scenario.values(self.found.elapsed_ms // 1000, self.found.total_mah)

    def _wake(self) -> int:
        found, scheduler, profile = self.found, self.scheduler, self.profile
        values = self._values()
        battery = self.scenario.battery
        millivolts = values.get(battery.name) if battery else None
        found.wakes += 1
        decision = scheduler.decide(0, millivolts, False)
        self._spend("wake", profile.wake())
        self._spend("sensor", profile.sensor())
        if decision.connect:
            self._connect(values)
        seen_ms = profile.sampled_ms + self.wake_ms
        scheduler.woke(seen_ms * self.current.active // 1000)
        return decision.sleep_s * 1000

    def _connect(self, values: Mapping[str, int]) -> None:
        profile, scheduler = self.profile, self.scheduler
        rssi_dbm = values.get("wifi.0.rssi_dbm", _RSSI_DBM)
        in_reach = rssi_dbm >= profile.board.chip.radio.sensitivity_dbm
        up = values.get("wifi.up", 1) and values.get("wifi.0.up", 1) and in_reach
        if not up:
            spell = profile.no_network()
        elif not values.get("net.up", 1):
            spell = profile.no_broker(rssi_dbm)
        else:
            spell = profile.connection(rssi_dbm)
        delivered = bool(up and values.get("net.up", 1))
        part = "connect" if delivered else "failed"
        boot = profile.call_boot()
        self._spend(part, boot)
        self._spend(part, spell)
        cost = spell.awake_ms * (self.current.active + self.current.radio_connecting) // 1000
        cost += boot.awake_ms * self.current.active // 1000
        if delivered:
            self._check(rssi_dbm)
            self.found.connects += 1
            scheduler.connected(cost, rssi_dbm)
        else:
            self.found.failures += 1
            scheduler.failed(cost)

    def _check(self, rssi_dbm: int) -> None:
        """Ask for a release, when it is time."""
        now_ms = self.found.elapsed_ms
        if self.checked_ms < 0 or now_ms - self.checked_ms >= self.check_ms:
            self.checked_ms = now_ms
            self._spend("connect", self.profile.check(rssi_dbm))

    def _spend(self, part: str, spell: Spell) -> None:
        current = self.current
        charge = (spell.awake_ms - spell.slow_ms) * current.active
        charge += spell.slow_ms * self.profile.slow_ua + spell.rail_uams
        charge += spell.connecting_ms * current.radio_connecting
        charge += spell.idle_ms * current.radio_idle
        charge += (spell.tx_us * current.radio_tx + spell.rx_us * current.radio_rx) // 1000
        self.found.charge_uams[part] += charge
        self._pass(spell.awake_ms)

    def _sleep(self, ms: int) -> None:
        self.found.charge_uams["sleep"] += ms * self.profile.sleep_ua
        self._pass(ms)

    def _pass(self, ms: int) -> None:
        found = self.found
        day = found.elapsed_ms // _DAY_MS
        found.elapsed_ms += ms
        if found.elapsed_ms // _DAY_MS > day:
            found.daily_mah.append(found.total_mah)


def predict(
    product: Mapping[str, Any],
    board: Board,
    scenario: Scenario,
    sensing: Sensing | None = None,
) -> Prediction:
    """`product` holds the tables of product.toml (`telemetry`, `battery`, `power`), `sensing` what
    its sensors take (sensing_of); without it they take what a BME280 does."""
    return _Run(product, board, scenario, sensing).play()
