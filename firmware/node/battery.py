"""The composition root of battery mode: wake, sample, keep, now and then connect, sleep.

A wake that only samples loads the sensors, the sampler and the scheduler, and nothing of flash,
radio or TLS; what connects is loaded when the scheduler says so. The state is in RTC memory where
the chip has one (`core.wakestate`). A board whose deep sleep is a light sleep with a reset behind
it gains nothing from the reset: there the loop goes on in RAM, dozing with the radio off, in pieces
where light sleep is cut short (`quirks` of the board's data).

Invariants: every wake ends in sleep; the boot number rises only when the state was lost; a reading
is either in the kept batch, in the outbox, or counted as dropped; a power cut costs at most the
kept batch.
"""

import asyncio
import gc
import time

import machine
from node.core import record, wakestate
from node.core.log import Log
from node.core.sampler import Sampler
from node.core.schedule import Scheduler, plan_for
from node.hal import board, keep, ticks
from node.hal.storage import Storage
from node.tasks.sense import SenseTask, columns_of, open_stations

_MIN_SLEEP_MS = 1000
_KEEP_MARGIN = 256  # bytes of RTC memory left for the numbers


class Wake:
    """One wake after another. The constructor restores the state; `round` is one wake."""

    def __init__(self, boot, product) -> None:
        self.boot = boot
        self.product = product
        self.storage = Storage()
        self.wiring = board.load("%s/boards/%s.cbor" % (boot.slot, boot.device["board"]))
        self.keeper = keep.of_this_board(self.wiring.data, self.storage)
        found = wakestate.unpack(self.keeper.read())
        resumed = found is not None and boot.cause == "deep_sleep"
        self.state = found if resumed else wakestate.WakeState(self._count_boot())
        self.cold = not resumed
        chip_s = ticks.chip_unix_s()
        self.ticks = ticks.Ticks(self.state.uptime_ms(chip_s) if resumed else 0)
        self.began_ms = self.ticks.uptime_ms()
        self.log = Log(self.ticks.uptime_ms, sink=print)
        plan = plan_for(product, self.wiring.data)
        self.scheduler = Scheduler(plan, found.schedule if found is not None else None)
        self._make_telemetry(found)

    def _count_boot(self) -> int:
        from node.hal import data

        return data.count_boot(self.storage)

    def _make_telemetry(self, found) -> None:
        product, state = self.product, self.state
        schema_id = record.schema_id(self.storage.read(self.boot.slot + "/schema.cbor"))
        columns = columns_of(product)
        self.sampler = Sampler(product, columns, (schema_id, state.boot))
        self.sampler.event_seq = state.event_seq
        self.batcher = self.sampler.batcher
        self.box = None
        if state.batch and not self.batcher.restore(state.batch):
            self.log.warning("wake: the kept batch does not fit; %d lost" % len(state.batch))
        self.batcher.next_seq = state.next_seq
        buses = {}
        for sensor in product.sensors:
            buses[sensor.bus] = self.wiring.bus(sensor.bus) if sensor.bus else self.wiring
        stations = open_stations(product, buses)
        ports = (self.ticks.uptime_ms, self.offset_ms, self.log)
        self.sense = SenseTask(product, stations, self.sampler, None, ports)
        self._column = _column_of(product, columns)
        if self.cold and found is not None:
            self._after_fault(found)

    def _after_fault(self, found) -> None:
        """The state is whole but the sleep was not: a watchdog, or a reset in between."""
        if found.connecting:
            self.scheduler.failed(self._cost_uas(self.product.battery.awake_s * 1000, True))
        if found.batch:  # of the boot before: it goes as it is
            rows = record.decode(found.batch).samples
            self.open_box().append(found.batch, rows, 0, self.ticks.uptime_ms())

    def offset_ms(self):
        offset_ms = self.state.offset_ms
        return offset_ms if offset_ms >= 0 else None

    def open_box(self):
        """The outbox, opened when it is first needed."""
        if self.box is None:
            from node.hal import data

            self.box = data.open_outbox(self.storage, self.product)
            self.sense.attach(self.box)
        return self.box

    # --- one wake

    async def round(self) -> int:
        """Sample, perhaps connect; -> how long to sleep (ms)."""
        before = self.sampler.taken
        await self.sense.round()
        if self.sampler.taken > before:
            print("reading %d %d" % (self.state.boot, before))
        self.state.wakes += 1
        urgent = self.sampler.alarmed or self.boot.trial
        decision = self.scheduler.decide(self.state.queue, self._battery_mv(), urgent)
        sampled_ms = self._awake_ms()
        if decision.connect:
            await self._connect(sampled_ms)
        elif self.batcher.rows >= self.product.batch or self._kept_is_large():
            self.open_box()
            self.sense.close_batch()
        if self.box is not None:
            self.sense.take_events()
            self.box.flush()
            self.box.save()
            self._note_queue()
        self.scheduler.woke(self._cost_uas(sampled_ms, False))
        return max(_MIN_SLEEP_MS, decision.sleep_s * 1000 - self._awake_ms())

    async def _connect(self, sampled_ms: int) -> None:
        state = self.state
        state.connecting = 1
        self._remember(0)
        self.open_box()
        self.sense.take_events()
        self.sense.close_batch()
        gc.collect()
        from node.call import Call

        call = Call(self)
        left_ms = self.product.battery.awake_s * 1000 - sampled_ms
        done = await call.run(left_ms)
        state.connecting = 0
        cost_uas = self._cost_uas(self._awake_ms() - sampled_ms, True)
        if done:
            self.scheduler.connected(cost_uas, call.rssi_dbm)
        else:
            self.log.warning("wake: no delivery (%s)" % call.stage)
            self.scheduler.failed(cost_uas)

    def _awake_ms(self) -> int:
        return self.ticks.uptime_ms() - self.began_ms

    def _cost_uas(self, ms: int, radio: bool) -> int:
        """What `ms` awake cost, by the board's data."""
        current = self.wiring.data["current_ua"]
        if radio:
            return ms * (current["active"] + current["radio_connecting"]) // 1000
        return (ms + self.wiring.data["wake_ms"]) * current["active"] // 1000

    def _note_queue(self) -> None:
        from node.hal import data

        self.state.queue = min(1000, data.queue_permille(self.storage, self.product))

    def _battery_mv(self):
        return self.sampler.values[self._column] if self._column >= 0 else None

    def _kept_is_large(self) -> bool:
        room = self.keeper.bytes - _KEEP_MARGIN
        return room > 0 and len(self.batcher.keep()) > room

    # --- sleep

    def sleep(self, sleep_ms: int) -> None:
        """Does not return where deep sleep is one; elsewhere it returns when it is time."""
        self.state.awake_ms += self._awake_ms()
        if self.wiring.data["quirks"]["deepsleep_is_lightsleep"]:
            self._doze(sleep_ms)
            self.began_ms = self.ticks.uptime_ms()
            return
        self._remember(sleep_ms)
        machine.deepsleep(sleep_ms)

    def _remember(self, sleep_ms: int) -> None:
        state = self.state
        state.up_ms = self.ticks.uptime_ms()
        state.sleep_ms = sleep_ms
        state.chip_s = ticks.chip_unix_s()
        state.next_seq = self.batcher.next_seq
        state.event_seq = self.sampler.event_seq
        state.schedule = self.scheduler.pack()
        state.batch = self.batcher.keep()
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


def _column_of(product, columns) -> int:
    """Where in a row the battery's voltage is; -1: nowhere."""
    if not product.battery.column:
        return -1
    from node.core.config import schema_fields

    fields = schema_fields(product, lambda sensor: columns[product.sensors.index(sensor)])
    names = [field[0] for field in fields]
    return names.index(product.battery.column) if product.battery.column in names else -1


def run(boot, product) -> None:
    """Wake after wake. Returns only by an exception: a fault of the release."""
    wake = Wake(boot, product)
    while True:
        asyncio.new_event_loop()
        wake.sleep(asyncio.run(wake.round()))
