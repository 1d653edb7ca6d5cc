"""The composition root of battery mode: wake, sample, keep, now and then connect, sleep.

A wake that only samples loads the sensors, the sampler and the scheduler, and nothing of flash,
radio or TLS; what connects is loaded when the scheduler says so, and what samples is forgotten
before. The state is in RTC memory where the chip has one (`core.wakestate`). A board whose deep
sleep is a light sleep with a reset behind it gains nothing from the reset: there the loop goes
on in RAM, dozing with the radio off, in pieces where light sleep is cut short (`quirks` of the
board's data).

Invariants: every wake ends in sleep; the boot number rises only when the state was lost; a reading
is either in the kept batch, in the outbox, or counted as dropped; a power cut costs at most the
kept batch.
"""

import asyncio
import gc
import time

import machine
from loader import cbor

from node.core import wakestate
from node.core.log import Log
from node.core.schedule import Scheduler, plan_for
from node.hal import board, data, keep, modules, ticks
from node.hal.storage import Storage

_MIN_SLEEP_MS = 1000
_COLLECT_BYTES = (32768, 4096)  # the second where TLS wants large pieces of this heap (RP2)
_KEEP_MARGIN = 256  # bytes of RTC memory for the numbers


class Wake:
    """One wake after another. The constructor restores the state; `round` is one wake."""

    def __init__(self, boot) -> None:
        self.boot = boot
        self.storage = Storage()
        self.wiring = board.load("%s/board-%s.cbor" % (boot.slot, boot.device["board"]))
        self.product = cbor.decode(self.storage.read(boot.slot + "/product.cbor"))
        self.plan = plan_for(self.product, self.wiring.data, data.settings(self.storage))
        self.sync_ms = 1000 * self.product.get("battery", {}).get("sync_s", 86400)
        self.cpu_mhz = self.product.get("battery", {}).get("cpu_mhz", 0)
        self.keeper = keep.of_this_board(self.wiring.data, self.storage)
        found = wakestate.unpack(self.keeper.read())
        self.cold = found is None or boot.cause != "deep_sleep"
        self.state = wakestate.WakeState(data.count_boot(self.storage)) if self.cold else found
        up_ms = 0 if self.cold else found.uptime_ms(ticks.chip_unix_s())
        self.ticks = ticks.Ticks(up_ms)
        self.began_ms = self.ticks.uptime_ms()
        self.log = Log(self.ticks.uptime_ms, sink=print)
        self.scheduler = Scheduler(self.plan, found.schedule if found is not None else None)
        self.box = None
        if self.cold and found is not None:
            self._after_fault(found)

    def _after_fault(self, found) -> None:
        """The state is whole but the sleep was not: a watchdog, or a reset in between."""
        if found.connecting:
            self.scheduler.failed(self.cost_uas(self.plan.awake_ms, True))
        if found.batch:  # of the boot before: it goes as it is
            from node.core import record

            rows = record.decode(found.batch).samples
            self.open_box().append(found.batch, rows, 0, self.ticks.uptime_ms())

    def offset_ms(self):
        offset_ms = self.state.offset_ms
        return offset_ms if offset_ms >= 0 else None

    def open_box(self):
        """The outbox, opened when it is first needed."""
        if self.box is None:
            self.box = data.open_outbox(self.storage, self.product, self.boot.secret)
        return self.box

    # --- one wake

    async def round(self) -> int:
        """Sample, perhaps connect; -> how long to sleep (ms)."""
        state = self.state
        self._clock(self.cpu_mhz)  # light sleep on RP2 ends at the default clock
        decision = await self._sample()
        sampled_ms = self.awake_ms()
        if decision.connect:
            state.connecting = 1
            self._remember(0)
            self._clock(self.wiring.data["freq_mhz"][0])  # before the radio is on: it minds
            await self._connect(sampled_ms)
            state.connecting = 0
        self._save_box()
        self.scheduler.woke(self.cost_uas(sampled_ms, False))
        state.wakes += 1
        return max(_MIN_SLEEP_MS, decision.sleep_s * 1000 - self.awake_ms())

    def _clock(self, mhz: int) -> None:
        if self.cpu_mhz:
            machine.freq(mhz * 1000000)

    async def _sample(self):
        """Take a reading and decide; what measures is forgotten again when it is to connect."""
        readings = modules.borrow(_open_readings, self)
        await readings.take()
        urgent = readings.alarmed or self.boot.trial
        decision = self.scheduler.decide(self.state.queue, readings.battery_mv(), urgent)
        readings.note(self.state)
        if decision.connect or readings.alarmed or self._is_much(readings):
            readings.hand_over(self.open_box())
            readings.note(self.state)
        readings = None
        modules.give_back()
        return decision

    def _is_much(self, readings) -> bool:
        room = self.keeper.bytes - _KEEP_MARGIN
        return readings.full or (room > 0 and len(self.state.batch) > room)

    async def _connect(self, sampled_ms: int) -> None:
        quirks = self.wiring.data["quirks"]
        gc.threshold(_COLLECT_BYTES[bool(quirks["deepsleep_is_lightsleep"])])
        kept = modules.kept()
        call = _open_call(self)
        modules.keep("")  # for as long as the call lasts: what it borrows goes before TLS comes
        done = await call.run(self.plan.awake_ms - sampled_ms)
        cost_uas = self.cost_uas(self.awake_ms() - sampled_ms, True)
        if done:
            self.scheduler.connected(cost_uas, call.rssi_dbm)
        else:
            self.log.warning("wake: no delivery (%s)" % call.stage)
            self.scheduler.failed(cost_uas)
        call = None
        modules.forget_but(kept)

    def _save_box(self) -> None:
        if self.box is None:
            return
        self.box.flush()
        self.box.save()
        self.state.queue = min(1000, data.queue_permille(self.storage, self.product))

    def awake_ms(self) -> int:
        return self.ticks.uptime_ms() - self.began_ms

    def cost_uas(self, ms: int, radio: bool) -> int:
        """What `ms` awake cost, by the board's data."""
        current = self.wiring.data["current_ua"]
        if radio:
            return ms * (current["active"] + current["radio_connecting"]) // 1000
        return (ms + self.wiring.data["wake_ms"]) * current["active"] // 1000

    def leave(self) -> None:
        """Before a reset that is no sleep: nothing of this wake is lost by it."""
        self._save_box()
        self._remember(0)

    # --- sleep

    def sleep(self, sleep_ms: int) -> None:
        """Does not return where deep sleep is one; elsewhere it returns when it is time."""
        self.state.awake_ms += self.awake_ms()
        if self.wiring.data["quirks"]["deepsleep_is_lightsleep"]:
            self.box = None
            self._doze(sleep_ms)
            self.cold = False
            self.began_ms = self.ticks.uptime_ms()
            return
        self._remember(sleep_ms)
        machine.deepsleep(sleep_ms)

    def _remember(self, sleep_ms: int) -> None:
        state = self.state
        state.up_ms = self.ticks.uptime_ms()
        state.sleep_ms = sleep_ms
        state.chip_s = ticks.chip_unix_s()
        state.schedule = self.scheduler.pack()
        self.keeper.write(wakestate.pack(state))

    def _doze(self, sleep_ms: int) -> None:
        """Light sleep in pieces, the watchdog fed in between; the radio is off."""
        quirks = self.wiring.data["quirks"]
        piece_ms = quirks["lightsleep_cap_ms"] or self.wiring.data["watchdog_ms"] // 2
        began = time.ticks_ms()
        left_ms = sleep_ms
        while left_ms > 0:
            if self.boot.watchdog is not None:
                self.boot.watchdog.feed()
            machine.lightsleep(min(left_ms, piece_ms))
            left_ms = sleep_ms - time.ticks_diff(time.ticks_ms(), began)


def _open_readings(wake):
    from node.parts.readings import Readings

    return Readings(wake)


def _open_call(wake):
    from node.parts.call import Call

    return Call(wake)


def run(boot) -> None:
    """Wake after wake. Returns only by an exception: a fault of the release."""
    gc.threshold(-1)  # for a sampling wake there is no need to collect at all
    modules.forget_verifier()
    modules.keep("")
    wake = Wake(boot)
    while True:
        asyncio.new_event_loop()
        wake.sleep(asyncio.run(wake.round()))
