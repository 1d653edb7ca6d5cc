"""The part of battery mode that decides: one wake but for its connection.

Made when a wake begins, and again when a call is over, for it is forgotten while one lasts.
"""

import gc
import time

import machine
from loader import cbor
from node.core import wakestate
from node.core.schedule import Scheduler, plan_for
from node.hal import data, keep, modules, ticks

_MIN_SLEEP_MS = 1000
_COLLECT_BYTES = (4096, 16384)  # the first in a small heap, and where TLS is in it (RP2)
_LOOK = 2  # of `connecting`: the call is over; this boot is for its question for a new release
_STARTED = "/data/started.cbor"
_KEEP_MARGIN = 256  # bytes of RTC memory for the numbers


def begin(wake):
    """The first of this boot: with the state that the sleep has left, if there was one."""
    if not wake.roomy:
        from node.parts import spent

        spent.by_loader()
        modules.drop("node.parts.spent")
    turn = Round(wake)
    turn.restore()
    return turn


class Round:
    """What `battery.run` has done in each wake, in this order: sample, leave_for_call and called
    when it is time for a connection, sleep."""

    def __init__(self, wake) -> None:
        self._wake = wake
        self._boot = boot = wake.boot
        self._storage = wake.storage
        path = "%s/board-%s.cbor" % (boot.slot, boot.device["board"])
        self._data = data.read_map(self._storage, path)
        self.wiring = None  # made of it when there is something to measure
        self.product = cbor.decode(self._storage.read(boot.slot + "/product.cbor"))
        self._cpu_mhz = self.product.get("battery", {}).get("cpu_mhz", 0)
        self._keeper = keep.of_this_board(self._data, self._storage)
        self._plan = plan_for(self.product, self._data, data.settings(self._storage))
        self._scheduler = None
        if wake.state is not None:
            self._make_scheduler()

    def _make_scheduler(self) -> None:
        self._scheduler = Scheduler(self._plan, self._wake.state.schedule or None)

    def restore(self) -> None:
        """The state from before the sleep, or a new one."""
        wake = self._wake
        found = wakestate.unpack(self._keeper.read())
        wake.cold = found is None or self._boot.cause != "deep_sleep"
        if not wake.cold:
            wake.ticks = ticks.Ticks(found.uptime_ms(ticks.chip_unix_s()))
        wake.state = wakestate.WakeState(data.count_boot(self._storage)) if wake.cold else found
        wake.began_ms = wake.ticks.uptime_ms()
        if found is not None:
            wake.state.schedule = found.schedule
        self._make_scheduler()
        if not wake.cold:
            if found.untold:
                self._recall_start()
            if found.connecting:
                self._for_a_call(found)
        elif found is not None:
            self._after_fault(found)

    def _recall_start(self) -> None:
        """What there is to tell is what started the device, not the end of the last sleep."""
        self._wake.cold = True
        told = data.read_map(self._storage, _STARTED)
        self._boot.cause, self._boot.reason = told.get("cause", "hard"), told.get("reason", "")

    def _keep_start(self) -> None:
        """Before a sleep: for `_recall_start`."""
        wake = self._wake
        if wake.cold and not wake.state.untold:
            wake.state.untold = 1
            told = {"cause": self._boot.cause, "reason": self._boot.reason}
            self._storage.write_atomic(_STARTED, cbor.encode(told))

    def _after_fault(self, found) -> None:
        """The state is whole but the sleep was not: a watchdog, or a reset in between."""
        scheduler = self._scheduler
        if found.connecting:
            scheduler.failed(self._cost_uas(self._plan.awake_ms, True))
        else:
            scheduler.since_connect = self._plan.connect_every  # to say so
        self._add_batch(found.batch)  # of the boot before: it goes as it is

    def _for_a_call(self, state) -> None:
        """The boot before has measured, decided, and slept for no time."""
        gc.threshold(_COLLECT_BYTES[0])
        gc.collect()
        wake = self._wake
        wake.calling = True
        wake.sleep_s = self._scheduler.interval_s()
        wake.looking = state.connecting == _LOOK
        if wake.looking:
            self._set_budget()
            return
        self._add_batch(state.batch)
        state.batch = b""
        self._about_to_call()

    def _add_batch(self, batch: bytes) -> None:
        box = self._open_box()
        if batch:
            from node.core import record

            rows = record.decode(batch).samples
            box.append(batch, rows, 0, self._wake.ticks.uptime_ms())

    def _open_box(self):
        """The outbox, opened when it is first needed."""
        wake = self._wake
        if wake.box is None:
            wake.box = data.open_outbox(self._storage, self.product, self._boot.secret)
        return wake.box

    # --- one wake

    async def sample(self) -> bool:
        """Take a reading and decide; True: it is time to connect."""
        self._clock(self._cpu_mhz)  # light sleep on RP2 ends at the default clock
        mine = self._keep_mine()
        # in a frame of its own, for a frame's stack holds on to what was on it
        decision, taken = await self._measure()
        if taken:
            self._put_in_box(taken, mine)
        self._sampled(decision)
        return decision.connect

    async def _measure(self):
        """-> the decision, and what is to go to the outbox now."""
        wake = self._wake
        if self.wiring is None:
            self.wiring = modules.part("node.hal.board", "Board", self._data)
            modules.give_back()
        readings = modules.borrow(_open_readings, wake, self)
        await readings.take()
        urgent = readings.alarmed or self._boot.trial
        decision = self._scheduler.decide(wake.state.queue, readings.battery_mv(), urgent)
        readings.note(wake.state)
        taken = None
        at_once = decision.connect and wake.roomy  # else the boot of the call has it
        if at_once or readings.alarmed or self._is_much(readings):
            taken = readings.take_out()
            readings.note(wake.state)
        readings = None
        modules.give_back()
        return decision, taken

    def _keep_mine(self):
        """In a small heap: the modules that are left when the sensors' are to be forgotten."""
        if self._wake.roomy:
            return None
        gc.collect()
        modules.keep("")
        return modules.kept()

    def _put_in_box(self, taken, mine) -> None:
        if mine is not None:
            modules.forget_but(mine)
        box = self._open_box()
        for row in taken:
            box.append(*row)

    def _is_much(self, readings) -> bool:
        room = self._keeper.bytes - _KEEP_MARGIN
        return readings.full or (room > 0 and len(self._wake.state.batch) > room)

    def _sampled(self, decision) -> None:
        wake = self._wake
        self._scheduler.woke(self._cost_uas(wake.awake_ms(), False))
        wake.sleep_s = decision.sleep_s
        if decision.connect:
            self._about_to_call()

    def _about_to_call(self) -> None:
        wake, scheduler = self._wake, self._scheduler
        self._set_budget()
        wake.battery_mv, wake.next_s = scheduler.battery_mv, scheduler.next_s()
        wake.every = scheduler.k
        wake.state.connecting = 1

    def _set_budget(self) -> None:
        self._wake.budget_ms = self._plan.awake_ms - self._wake.awake_ms()

    def _clock(self, mhz: int) -> None:
        if self._cpu_mhz:
            machine.freq(mhz * 1000000)

    def leave_for_call(self) -> None:
        """Last, before this is forgotten for a connection. In a small heap that has measured this
        does not return: see `battery`."""
        wake, quirks = self._wake, self._data["quirks"]
        if not (wake.roomy or wake.calling or quirks["deepsleep_is_lightsleep"]):
            wake.save_box()
            self._keep_start()
            self._remember(1)
            machine.deepsleep(1)
        self._remember(0)
        self._clock(self._data["freq_mhz"][0])  # before the radio is on: it minds
        gc.threshold(_COLLECT_BYTES[wake.roomy and not quirks["tls_in_gc_heap"]])

    def called(self, outcome) -> None:
        """What became of the connection: see `battery`. Does not return when a reset is due."""
        done, took_ms, rssi_dbm, reset_reason = outcome
        wake = self._wake
        wake.state.connecting = 0
        if reset_reason:
            self._reset(reset_reason)
        if wake.looking:
            return
        cost_uas = self._cost_uas(took_ms, True)
        if wake.calling:
            cost_uas += self._cost_uas(0, False)  # for the boot
        if done:
            wake.cold = False
            wake.state.untold = 0
            self._scheduler.connected(cost_uas, rssi_dbm)
        else:
            self._scheduler.failed(cost_uas)
        if wake.look_due:
            wake.save_box()
            wake.state.connecting = _LOOK
            self._remember(1)
            machine.deepsleep(1)

    def _reset(self, reason: str) -> None:
        """No sleep, but nothing of this wake is lost. The call does not count: the next boot is to
        say hello."""
        self._wake.save_box()
        self._remember(0)
        self._boot.plan_reset(reason)
        self._boot.reset()

    def _cost_uas(self, ms: int, radio: bool) -> int:
        """What `ms` awake cost, by the board's data."""
        current = self._data["current_ua"]
        if radio:
            return ms * (current["active"] + current["radio_connecting"]) // 1000
        return (ms + self._data["wake_ms"]) * current["active"] // 1000

    # --- sleep

    def sleep(self) -> None:
        """Does not return where deep sleep is one; elsewhere it returns when it is time."""
        wake = self._wake
        wake.save_box()
        wake.state.wakes += 1
        awake_ms = wake.awake_ms()
        sleep_ms = max(_MIN_SLEEP_MS, wake.sleep_s * 1000 - awake_ms)
        wake.state.awake_ms += awake_ms
        if self._data["quirks"]["deepsleep_is_lightsleep"]:
            wake.box = None
            self._doze(sleep_ms)
            wake.began_ms = wake.ticks.uptime_ms()
            return
        self._keep_start()
        self._remember(sleep_ms)
        machine.deepsleep(sleep_ms)

    def _remember(self, sleep_ms: int) -> None:
        state = self._wake.state
        state.up_ms = self._wake.ticks.uptime_ms()
        state.sleep_ms = sleep_ms
        state.chip_s = ticks.chip_unix_s()
        state.schedule = self._scheduler.pack()
        self._keeper.write(wakestate.pack(state))

    def _doze(self, sleep_ms: int) -> None:
        """Light sleep in pieces, the watchdog fed in between; the radio is off."""
        quirks = self._data["quirks"]
        piece_ms = quirks["lightsleep_cap_ms"] or self._data["watchdog_ms"] // 2
        began = time.ticks_ms()
        left_ms = sleep_ms
        while left_ms > 0:
            if self._boot.watchdog is not None:
                self._boot.watchdog.feed()
            machine.lightsleep(min(left_ms, piece_ms))
            left_ms = sleep_ms - time.ticks_diff(time.ticks_ms(), began)


def _open_readings(wake, turn):
    from node.parts.readings import Readings

    return Readings(wake, turn)
