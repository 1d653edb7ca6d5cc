"""The part of battery mode that talks: one connection, for a `battery.Wake`.

In three steps, each forgotten before the next, because TLS wants the memory: joining the network,
asking for the time (when it is unknown), and the conversation, which `parts.dial` composes. What
the parts shared with powered mode use of a node has the names of `powered.Node`. Resident here is
what a conversation needs at any moment; the rest is borrowed by name.
"""

import asyncio
import gc
import os

from node.hal import modules
from node.tasks.wake import Budget, join

_DIAL = "node.parts.dial"
_ONLINE = "node.parts.online"
_HANDS = "node.parts.hands"
# what the outbox and its publisher have loaded: 6 kB
_RECORDS = ("node.core.record", "node.core.pack", "node.core.quality")


class Call:
    """One connection. `rssi_dbm` and `reset_reason` are for who has made it."""

    def __init__(self, wake) -> None:
        self.wake = wake
        self.boot = wake.boot
        self.boot_number = wake.state.boot
        self.storage = wake.storage
        self.ticks = wake.ticks
        self.log = wake.log
        self.gate_memory = self.renew_s = None
        self.unproven_ms = -1
        self.root_version = 0
        self.cert_id = b""
        self.desired: dict = {}
        self.addresses: dict = {}
        self.reset_reason = ""
        self.rssi_dbm = 0
        self.stage = "wifi"  # where it ended, for the log
        self.ports = self.update_task = self  # parts want `ports.below`, `update_task.check_now`
        self.connection = None
        self._told = False
        modules.briefly(_DIAL, "open_station", self)

    def below(self, limit: int) -> int:
        return int.from_bytes(os.urandom(4), "big") % limit

    async def run(self) -> bool:
        """Deliver within the wake's budget; True when everything was acknowledged."""
        kept = modules.kept()
        wake = self.wake
        until_ms = self.ticks.uptime_ms() + wake.budget_ms
        self._budget = budget = Budget(self.ticks.uptime_ms, until_ms, self.boot.watchdog)
        try:
            done = await self._join(budget) and (wake.looking or await self._talk(budget))
            if done and (wake.looking or self._is_check_due()):
                if wake.looking or wake.roomy:
                    self.connection = self.reporter = self.publisher = self.inbox = None
                    modules.forget_but(kept)  # the check has the memory of the conversation
                    await self._look(budget)
                else:
                    wake.look_due = True
        finally:
            self.station.off()
        if self.boot.trial:
            self._judge()
        if not done:
            self.log.warning("wake: no delivery (%s)" % self.stage)
        return done

    def _is_check_due(self) -> bool:
        """Whether this call is to end with a question for a new release."""
        if self.boot.trial or self.reset_reason:
            return False
        checked_ms = self.wake.state.checked_ms
        since_ms = self.ticks.uptime_ms() - checked_ms
        if checked_ms != -1 and since_ms < self.interval_s * 1000:
            return False
        return not modules.briefly("node.parts.hello", "must_wait", self)

    # --- the steps

    async def _join(self, budget) -> bool:
        network = modules.part(_ONLINE, "open_joining", self, None)
        try:
            return await join(network, budget)
        finally:
            network = None
            modules.give_back()

    async def _sync(self) -> None:
        asking = modules.part(_ONLINE, "open_asking", self)
        try:
            if await asking.sync():
                state = self.wake.state
                state.synced_ms = self.ticks.uptime_ms()
                state.offset_ms = self.clock.offset_ms()
        finally:
            asking = None
            modules.give_back()

    async def resolve(self, host: str, timeout_ms: int) -> str:
        """An address, within a deadline (hal.resolve)."""
        resolver = modules.part(_ONLINE, "open_resolver", self)
        try:
            return await resolver.resolve(host, timeout_ms)
        finally:
            resolver = None
            modules.give_back()

    async def _talk(self, budget) -> bool:
        if not self.clock.known:
            self.stage = "time"
            await self._sync()
        self.stage = "broker"
        modules.briefly("node.parts.settings", "started", self, self.wake.cold)
        courier = modules.part(_DIAL, "compose", self, budget)
        modules.keep((_DIAL,))
        modules.give_back()
        self.log.info("heap: %d used, %d free" % (gc.mem_alloc(), gc.mem_free()))
        done = await courier.run(self._idle, self._goodbye)
        if not self.connection.connects:
            self._settle(False)
        self.stage = self.connection.fault or "late"
        self.wake.state.acked += self.connection.acks
        self.connection.acks = 0  # or a judge would count them twice
        return done

    def _idle(self) -> bool:
        if not self.has_told() or not self.reporter.idle:
            return False
        return self.publisher is None or self.publisher.idle

    def has_told(self) -> bool:
        """The readings have gone, or half the time, and what else there is to tell is told: there
        is room to carry something out."""
        if not self._told and self._make_room():
            if self.wake.cold or self._is_renewal_due():
                modules.briefly(_DIAL, "go_on", self)
            self._told = True
        return self._told

    def _is_renewal_due(self) -> bool:
        now_s = self.unix_s()
        return self.renew_s is not None and now_s is not None and now_s >= self.renew_s

    def _make_room(self) -> bool:
        """Before anything else is done, what publishes readings goes, and in a small heap the
        outbox, as soon as that is empty; until then it waits, if there is time."""
        if self.publisher is not None:
            if not self.publisher.idle:
                return self._budget.left_ms() < self.wake.budget_ms // 2
            if not self.wake.roomy:
                self._put_away_box()
        return True

    def _put_away_box(self) -> None:
        wake = self.wake
        self.connection.remove_source(self.publisher)
        self.publisher = None
        wake.count()
        wake.save_box()
        wake.box = None
        for name in _RECORDS:
            modules.drop(name)
        gc.collect()

    async def _goodbye(self) -> None:
        """Delivered, and still online: what could wait until then."""
        self._settle(True)
        if self.unproven_ms >= 0:
            modules.briefly("node.parts.settings", "proven", self)
        self.rssi_dbm = self.station.rssi() or 0
        if self.boot.trial:
            self._make_room()  # what is free is judged, too
            self._judge()
        modules.briefly(_DIAL, "say_status", self)
        state = self.wake.state
        since_ms = self.ticks.uptime_ms() - state.synced_ms
        if state.synced_ms < 0 or since_ms >= self.sync_ms:
            await self._sync()
        while self.connection.connected and not (self.connection.idle() and self._idle()):
            await asyncio.sleep_ms(20)

    def _settle(self, connected: bool) -> None:
        modules.briefly("node.parts.papers", "settle", self, self.certificate, connected)

    def _judge(self) -> None:
        """Whether the release on trial meets its contract."""
        modules.briefly("node.parts.judge", "judge", self)

    async def _look(self, budget) -> None:
        """Ask for a new release. Without memory for it, the next call does; a boot that was for
        nothing else had all there is."""
        look = None
        short = False
        try:
            look = modules.part("node.parts.look", "Look", self)
            await look.run(budget)
        except MemoryError:
            short = True
        if look is not None:
            look = None
            modules.give_back()
        if short:
            self.log.warning("update: no memory")
            if self.wake.looking:
                self.wake.state.checked_ms = self.ticks.uptime_ms()

    # --- what is carried out

    def open_hands(self, kind: str):
        return modules.part(_HANDS, "open_hands", self, kind)

    def close_hands(self, hands) -> None:
        hands.close()
        modules.give_back()

    def light(self):
        """What switches the board's light; it does nothing where there is none."""
        return modules.briefly(_HANDS, "open_light", self)

    def check_now(self) -> None:
        """The `check-update` command: at the end of this call."""
        self.wake.state.checked_ms = -1

    def stop(self, reason: str) -> None:
        """Reset when the connection has ended."""
        self.reset_reason = reason

    # --- what it says of itself

    def unix_s(self):
        return self.clock.unix_s(self.ticks.uptime_ms())

    def stamp(self) -> dict:
        state = self.wake.state
        stamp = {"boot": state.boot, "seq": state.event_seq, "up": self.ticks.uptime_ms()}
        state.event_seq += 1
        now_s = self.unix_s()
        if now_s is not None:
            stamp["ts"] = now_s
        return stamp

    def state(self) -> dict:
        return modules.briefly("node.parts.facts", "state", self)
