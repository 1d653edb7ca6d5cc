"""Measures: asks every sensor of the product in turn, for ever, whatever the sensors do.

A sensor that fails is a quality code on its columns and a growing pause before it is asked again
(1, 2, 4 ... rounds, at most `_SKIP_MAX`); a bus that is held gets nine clocks. The only things
that end this task are cancellation and our own bugs.
"""

import asyncio

from micropython import const
from node.core import quality
from node.drivers.sensor import NotReady, SensorError

_TELEMETRY = const(0)  # core.outbox's kinds: not imported, a wake may need no outbox
_EVENT = const(1)
_POLL_MS = const(5)
_STEP_MS = const(1000)
_SKIP_MAX = const(32)
_HIGH_RATE = const(4)  # rounds come that many times as often while an alarm is being captured
_ENODEV = const(19)
_EIO = const(5)


class Station:
    """One sensor: its driver, and how it has been doing."""

    def __init__(self, name, driver, bus) -> None:
        self.name = name
        self.driver = driver
        self.bus = bus
        self.out = [0] * len(driver.CHANNELS)
        self.failures = 0
        self.skip = 0
        self.began_ms = 0
        self.ready_ms = 0
        self.code = quality.GOOD


class SenseTask:
    """`ports` has uptime_ms(), offset_ms() (Unix time - uptime, None while unknown) and log."""

    beat_ms = 30000

    def __init__(self, product, stations, sampler, box, ports) -> None:
        self.interval_ms = product.sample_ms
        self.adaptive = None
        if 0 < product.sample_min_ms < product.sample_ms:
            from node.core.smooth import AdaptiveInterval

            self.adaptive = AdaptiveInterval(product.sample_min_ms, product.sample_ms)
        self.stations = stations
        self._sampler = sampler
        self._box = box
        self._uptime_ms, self._offset_ms, self._log = ports
        self.errors = {}
        self.rounds = 0

    def attach(self, box) -> None:
        """Give it its outbox late: a wake that keeps its batch in RTC memory needs none."""
        self._box = box

    async def run(self, beat) -> None:
        next_ms = self._uptime_ms()
        while True:
            beat()
            moved = await self.round()
            self._hand_over()
            step_ms = self.interval_ms
            if self.adaptive is not None:
                step_ms = self.adaptive.step(moved)
            if self._sampler.capturing:
                step_ms = max(_STEP_MS, step_ms // _HIGH_RATE)
            next_ms = max(next_ms + step_ms, self._uptime_ms())
            await self._sleep_until(next_ms, beat)

    async def _sleep_until(self, at_ms, beat) -> None:
        while True:
            left_ms = at_ms - self._uptime_ms()
            if left_ms <= 0:
                return
            await asyncio.sleep_ms(min(left_ms, _STEP_MS))
            beat()
            self._hand_over()

    def take_events(self) -> None:
        """Move alarms to the outbox."""
        now_ms = self._uptime_ms()
        offset_ms = self._offset_ms()
        unix_s = None if offset_ms is None else (offset_ms + now_ms) // 1000
        while True:
            event = self._sampler.next_event(now_ms, unix_s)
            if event is None:
                break
            self._box.append(event, 1, _EVENT, now_ms)

    def _hand_over(self) -> None:
        """Close a batch that is due, move alarms to the outbox, have it flush what is old."""
        now_ms = self._uptime_ms()
        self.take_events()
        if self._sampler.batcher.due(now_ms):
            self.close_batch()
        self._box.tick(now_ms)

    def close_batch(self) -> None:
        """Put the open batch into the outbox: when it is due, and before a reset or a sleep."""
        closed = self._sampler.batcher.close(self._offset_ms())
        if closed is not None:
            payload, rows = closed
            self._box.append(payload, rows, _TELEMETRY, self._uptime_ms())

    # --- one round

    async def round(self) -> bool:
        """Start all sensors, then collect them: their conversions overlap. True: it made a row."""
        self.rounds += 1
        for station in self.stations:
            self._start(station)
        for index in range(len(self.stations)):
            await self._collect(index, self.stations[index])
        return self._sampler.finish(self._uptime_ms())

    def _start(self, station) -> None:
        station.code = quality.GOOD
        if station.skip:
            station.skip -= 1
            station.code = quality.SKIPPED
            return
        station.began_ms = self._uptime_ms()
        try:
            station.ready_ms = station.began_ms + station.driver.start()
        except NotReady:
            station.ready_ms = -1
        except (OSError, SensorError) as error:
            self._fail(station, error)

    async def _collect(self, index, station) -> None:
        while station.code == quality.GOOD:
            if station.ready_ms < 0:  # the chip was not ready to be started
                await asyncio.sleep_ms(_POLL_MS)
                self._start_again(station)
                continue
            wait_ms = station.ready_ms - self._uptime_ms()
            if wait_ms > 0:
                await asyncio.sleep_ms(wait_ms)
            if self._read(station):
                break
            await asyncio.sleep_ms(_POLL_MS)
        now_ms = self._uptime_ms()
        if station.code == quality.GOOD:
            self._sampler.reading(index, station.out, station.driver.quality, now_ms)
        else:
            self._sampler.failed(index, station.code, now_ms)

    def _start_again(self, station) -> None:
        began_ms = station.began_ms
        if self._uptime_ms() - began_ms > station.driver.deadline_ms:
            self._fail(station, NotReady())
            return
        self._start(station)
        station.began_ms = began_ms

    def _read(self, station) -> bool:
        """One attempt; False when the chip wants more time and still has it."""
        try:
            station.driver.read_into(station.out)
        except NotReady as error:
            if self._uptime_ms() - station.began_ms < station.driver.deadline_ms:
                return False
            self._fail(station, error)
        except (OSError, SensorError) as error:
            self._fail(station, error)
        else:
            if station.failures:
                self._log.warning("sensor %s: back after %d" % (station.name, station.failures))
            station.failures = 0
        return True

    def _fail(self, station, error) -> None:
        station.code = code_of(error)
        station.failures += 1
        station.skip = (
            min(_SKIP_MAX, 1 << min(station.failures, 6)) - 2 if station.failures > 1 else 0
        )
        name = station.name
        self.errors[name] = self.errors.get(name, 0) + 1
        if station.failures == 1:
            self._log.warning("sensor %s: %s" % (name, quality.name(station.code)))
        station.driver.reset()
        if station.code == quality.BUS:
            recover = getattr(station.bus, "recover", None)
            if recover is not None:
                recover()


def code_of(error) -> int:
    """The quality code of what a driver or its bus raised."""
    if isinstance(error, SensorError):
        return error.code
    # A part that is not there is ENODEV on esp32 and EIO on rp2; all else is the wires' trouble.
    return quality.ABSENT if error.errno in (_ENODEV, _EIO) else quality.BUS
