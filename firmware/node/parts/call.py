"""The part of battery mode that talks: composed for one connection, on top of a `battery.Wake`.

Composed in three steps, each forgotten before the next, because TLS wants the memory: joining the
network, asking for the time (when it is unknown), and the conversation. What the parts shared with
powered mode use of a node has the names of `main.Node`.
"""

import asyncio
import gc
import os

from loader import cbor
from node.core.clock import Clock
from node.hal import data, modules
from node.hal.station import Station
from node.tasks.wake import Budget, Courier, join

_DEVICE = "/data/device.cbor"
_CLOCK = "/data/clock.cbor"
_COMMANDS = "/data/commands.cbor"
_RX_MAX = 2048
_OPEN_MS = 5000  # a lost SYN is sent again after 3 s; each ms here is paid by each outage
_CHECK_S = 21600  # at least, between checks: a rollout's command asks for one at once


def _open_joining(node):
    from node.parts import online

    return online.open_joining(node, None)


def _open_asking(node):
    from node.parts import online

    return online.open_asking(node)


def _open_look(node):
    from node.parts.look import Look

    return Look(node)


def _judge(node):
    from node.parts import look

    return look.judge(node)


def _settle(node, connected: bool) -> None:
    from node.parts import papers

    papers.settle(node, node.certificate, connected)


def _resume(node) -> None:
    """With what was under way before, once the connection is composed."""
    from node.parts import look, papers, settings

    papers.introduce(node, node.certificate)
    settings.started(node, node.wake.cold)
    if node.wake.cold:
        look.say(node)
        if b"started" in (node.storage.read(_COMMANDS) or b""):
            from node.parts import hands

            hands.interrupted(node)


def _open_resolver(node):
    from node.parts import online

    return online.open_resolver(node)


class Call:
    """One connection."""

    def __init__(self, wake) -> None:
        self.wake = wake
        self.boot = wake.boot
        self.boot_number = wake.state.boot
        self.storage = wake.storage
        self.ticks = wake.ticks
        self.log = wake.log
        self.gate_memory = self.renew_s = None
        self.unproven_ms = -1
        self.cert_id = b""
        self.desired: dict = {}
        self.addresses: dict = {}
        self.device = data.read_map(self.storage, _DEVICE)
        self.id = self.device["id"]
        self.reset_reason = ""
        self.rssi_dbm = 0
        self.stage = "wifi"  # where it ended, for the log
        self.ports = self.update_task = self  # parts want `ports.below`, `update_task.check_now`
        self.interval_s = max(_CHECK_S, wake.product.get("update", {}).get("check_s", 0))
        self.connection = None
        self.station = Station(self.device.get("country", ""), self.id)
        self._make_clock()

    def below(self, limit: int) -> int:
        return int.from_bytes(os.urandom(4), "big") % limit

    def _make_clock(self) -> None:
        bound_s = data.read_map(self.storage, _CLOCK).get("lb", 0)
        self.clock = Clock(bound_s if isinstance(bound_s, int) else 0)
        offset_ms, up_ms = self.wake.state.offset_ms, self.ticks.uptime_ms()
        if offset_ms >= 0:
            self.clock.restore(offset_ms + up_ms, up_ms)

    # --- the steps

    async def run(self, budget_ms: int) -> bool:
        """Deliver within the budget; True when everything was acknowledged."""
        self.kept = modules.kept()
        until_ms = self.ticks.uptime_ms() + budget_ms
        budget = Budget(self.ticks.uptime_ms, until_ms, self.boot.watchdog)
        try:
            done = await self._join(budget) and await self._talk(budget)
            if done and self._is_check_due():
                await self._look(budget)
        finally:
            self.station.off()
        if self.boot.trial:
            self._judge()
        if self.reset_reason:
            self._reset()
        return done

    async def _join(self, budget) -> bool:
        network = modules.borrow(_open_joining, self)
        try:
            return await join(network, budget)
        finally:
            network = None
            modules.give_back()

    def _is_check_due(self) -> bool:
        checked_ms = self.wake.state.checked_ms
        if self.boot.trial or self.reset_reason:
            return False
        since_ms = self.ticks.uptime_ms() - checked_ms
        return checked_ms < 0 or since_ms >= self.interval_s * 1000

    async def _look(self, budget) -> None:
        """Ask for a new release, in the memory of the conversation, which is over."""
        self.connection = self.reporter = self.publisher = self.inbox = None
        modules.forget_but(self.kept)
        look = modules.borrow(_open_look, self)
        try:
            await look.run(budget)
        finally:
            look = None
            modules.give_back()

    def check_now(self) -> None:
        """The `check-update` command: at the end of this call."""
        self.wake.state.checked_ms = -1

    async def _sync(self) -> None:
        asking = modules.borrow(_open_asking, self)
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
        resolver = modules.borrow(_open_resolver, self)
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
        self._make_connection(budget.feed)
        modules.keep("")
        self._go_on()
        gc.collect()
        self.log.info("heap: %d used, %d free" % (gc.mem_alloc(), gc.mem_free()))
        courier = Courier(self.connection, self.inbox, self.station.joined, budget)
        done = await courier.run(self._idle, self._goodbye)
        if not self.connection.connects:
            self._settle(False)
        self.stage = self.connection.fault or "late"
        self.wake.state.acked += self.connection.acks
        return done

    def _make_connection(self, feed) -> None:
        from node.core.mqtt.codec import Options
        from node.hal import link
        from node.tasks import connect
        from node.tasks.publish import PublishSource
        from node.tasks.report import Reporter
        from node.tasks.watch import Inbox

        broker = self.device["broker"]
        options = Options(self.id)
        options.max_packet = _RX_MAX
        ports = link.Ports(self.make_tls(), feed, self.station.joined, self.resolve)
        config = connect.Config(broker["host"], broker["port"], options)
        config.open_timeout_ms = _OPEN_MS
        config.resubscribe = self.wake.cold
        self.connection = connection = connect.Connection(config, ports, self.log)
        self.reporter = Reporter(connection, self._heartbeat, self._state, self._stamp, 0)
        self.publisher = PublishSource(self.wake.box, self.boot_number, self.clock.offset_ms)
        connection.add_source(self.publisher)
        self.inbox = Inbox(connection, (self._open_hands, _close_hands), self.log)

    def make_tls(self):
        import machine
        from node.hal import tls
        from node.tasks import identity

        own = identity.Identity(self.storage, os.urandom, machine.unique_id())
        key, certificate, authority = own.credentials()
        self.certificate = certificate
        authorities = [authority] if authority else []
        return tls.Tls(certificate, key, authorities, tls.memory_of_this_chip())

    def _open_hands(self, kind: str):
        from node.parts import hands

        return hands.open_hands(self, kind)

    def _go_on(self) -> None:
        modules.borrow(_resume, self)
        modules.give_back()
        now_s = self.unix_s()
        if self.renew_s is not None and now_s is not None and now_s >= self.renew_s:
            self.inbox.put("certificate", b"")

    def _idle(self) -> bool:
        return self.publisher.idle and self.reporter.idle

    def _settle(self, connected: bool) -> None:
        modules.borrow(_settle, self, connected)
        modules.give_back()

    async def _goodbye(self) -> None:
        """Delivered, and still online: what could wait until then."""
        self._settle(True)
        if self.unproven_ms >= 0:
            from node.parts.settings import Settings

            await Settings(self).handle(b"", None)
        self.rssi_dbm = self.station.rssi() or 0
        if self.boot.trial:
            self._judge()
        self.connection.publish("status", cbor.encode(self._heartbeat()), retain=True)
        state = self.wake.state
        since_ms = self.ticks.uptime_ms() - state.synced_ms
        if state.synced_ms < 0 or since_ms >= self.wake.sync_ms:
            await self._sync()
        while self.connection.connected and not (self.connection.idle() and self._idle()):
            await asyncio.sleep_ms(20)

    # --- afterwards

    def _judge(self) -> None:
        """Whether the release on trial meets its contract."""
        confirmed = modules.borrow(_judge, self)
        modules.give_back()
        if confirmed and self.connection is not None:
            self.reporter.event("update", {"s": "confirmed", "release": self.boot.digest})
            self.reporter.state_changed()

    def _reset(self) -> None:
        self.wake.state.connecting = 0
        self.wake.leave()
        self.boot.plan_reset(self.reset_reason)
        self.boot.reset()

    # --- what commands ask for

    def stop(self, reason: str) -> None:
        """Reset when the connection has ended."""
        self.reset_reason = reason

    def open_light(self):
        from node.parts import hands

        return hands.open_light(self)

    # --- what it says of itself

    def unix_s(self):
        return self.clock.unix_s(self.ticks.uptime_ms())

    def _stamp(self) -> dict:
        state = self.wake.state
        stamp = {"boot": state.boot, "seq": state.event_seq, "up": self.ticks.uptime_ms()}
        state.event_seq += 1
        if self.unix_s() is not None:
            stamp["ts"] = self.unix_s()
        return stamp

    def _state(self) -> dict:
        boot = self.boot
        return {
            "version": boot.version,
            "slot": boot.slot,
            "epoch": boot.release["epoch"],
            "release": boot.digest,
            "board": boot.device["board"],
            "confirmed": not boot.trial,
            "root": boot.root["version"],
            "desired": self.desired,
            "cert": self.cert_id,
        }

    def _heartbeat(self) -> dict:
        gc.collect()
        wake = self.wake
        return {
            "on": True,
            "up": self.ticks.uptime_ms() // 1000,
            "boot": wake.state.boot,
            "rst": self.boot.cause,
            "heap": gc.mem_free(),
            "rssi": self.station.rssi(),
            "bat": wake.scheduler.battery_mv,
            "wakes": wake.state.wakes,
            "k": wake.scheduler.k,
            "q": wake.box.depth,
            "box": [wake.box.taken, wake.box.delivered, wake.box.dropped],
            "sensors": wake.state.errors,
        }


def _close_hands(hands) -> None:
    """The sleep forgets their modules."""
    hands.close()
