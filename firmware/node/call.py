"""The part of battery mode that talks: composed for one connection, on top of a `battery.Wake`.

Loaded only on a wake that connects. What it needs from the device's configuration is read here, so
that a wake which only samples does not pay for it.
"""

import asyncio
import gc
import os

import machine
from loader import cbor
from node.core import wifi
from node.core.clock import Clock
from node.core.command import Gate
from node.core.health import FAILED, HEALTHY, HealthContract
from node.core.mqtt.codec import Options
from node.hal import board, data, link, sntp, ticks, tls
from node.hal.wifi import Radio
from node.tasks import connect, identity
from node.tasks.command import Commands
from node.tasks.inbox import Inbox
from node.tasks.network import ClockTask, NetworkTask
from node.tasks.publish import PublishSource
from node.tasks.remote import Remote
from node.tasks.report import Reporter
from node.tasks.wake import Courier

_DEVICE = "/data/device.cbor"
_CLOCK = "/data/clock.cbor"
_ACCESS_POINT = "/data/ap.cbor"
_RX_MAX = 2048
_OPEN_MS = 8000


class Call:
    """One connection. The names that `tasks.remote.Remote` uses are those of `main.Node`."""

    def __init__(self, wake) -> None:
        self.wake = wake
        self.boot = wake.boot
        self.storage = wake.storage
        self.ticks = wake.ticks
        self.log = wake.log
        self.device = data.read_map(self.storage, _DEVICE)
        self.reset_reason = ""
        self.rssi_dbm = 0
        self.stage = "wifi"
        self._make_clock()
        self._make_network()
        self._make_connection()
        hands = (self._open_commands, lambda commands: None)
        self.commands = Inbox(self.connection, hands, self.log)

    def _open_commands(self):
        gate = Gate(self.storage, "/data/commands.cbor", self.wake.state.boot)
        commands = Commands(self.connection, gate, self.ticks.uptime_ms, self.unix_s, self.log)
        Remote(self).register(commands)
        return commands

    def _make_clock(self) -> None:
        bound_s = data.read_map(self.storage, _CLOCK).get("lb", 0)
        self.clock = Clock(bound_s if isinstance(bound_s, int) else 0)
        offset_ms, up_ms = self.wake.state.offset_ms, self.ticks.uptime_ms()
        if offset_ms >= 0:
            self.clock.restore(offset_ms + up_ms, up_ms)

    def _make_network(self) -> None:
        self.radio = Radio(self.device.get("country", ""), self.device["id"])
        cached = data.read_map(self.storage, _ACCESS_POINT)
        cache = (cached["ssid"], cached["bssid"], cached["ch"]) if len(cached) == 3 else None
        networks = wifi.networks_from(self.device.get("wifi", []))
        policy = wifi.WifiPolicy(networks, link.Ports().below, cache)
        self.network = NetworkTask(
            policy, self.radio, self.ticks.uptime_ms, self.log, self._save_access_point
        )
        ports = (_ask_time, self.ticks.uptime_ms, ticks.set_chip_clock, self._save_bound, self.log)
        self.clock_task = ClockTask(self.clock, self.device.get("ntp", []), ports)

    def _make_connection(self) -> None:
        broker = self.device["broker"]
        options = Options(self.device["id"])
        options.max_packet = _RX_MAX
        ports = link.Ports(self._tls(), self._feed, lambda: self.network.up)
        config = connect.Config(broker["host"], broker["port"], options)
        config.open_timeout_ms = _OPEN_MS
        config.resubscribe = self.wake.cold
        self.connection = connect.Connection(config, ports, self.log)
        self.reporter = Reporter(self.connection, self._heartbeat, self._state, self._stamp, 0)
        self.publisher = PublishSource(self.wake.box, self.wake.state.boot, self.clock.offset_ms)
        self.connection.add_source(self.publisher)

    def _tls(self):
        own = identity.Identity(self.storage, os.urandom, machine.unique_id())
        key, certificate, authority = own.credentials()
        authorities = [authority] if authority else []
        return tls.Tls(certificate, key, authorities, tls.memory_of_this_chip())

    def _feed(self) -> None:
        if self.boot.watchdog is not None:
            self.boot.watchdog.feed()

    # --- the connection

    async def run(self, budget_ms: int) -> bool:
        """Deliver within the budget; True when everything was acknowledged."""
        self._say()
        ports = (self.ticks.uptime_ms, self._feed, self.radio.off, self._before, self._after)
        courier = Courier(self.network, self.connection, self.commands, ports)
        try:
            return await courier.run(budget_ms, self._idle)
        finally:
            self.stage = courier.stage if courier.stage != "broker" else self.connection.fault
            self._settle()

    def _idle(self) -> bool:
        return self.publisher.idle and self.reporter.idle

    async def _before(self) -> None:
        if not self.clock.known:
            await self._sync()

    async def _after(self) -> None:
        """Delivered, and still online: what can wait until then."""
        self.rssi_dbm = self.radio.rssi() or 0
        self.connection.publish("status", cbor.encode(self._heartbeat()), retain=True)
        state = self.wake.state
        since_ms = self.ticks.uptime_ms() - state.synced_ms
        if state.synced_ms < 0 or since_ms >= self.wake.product.battery.sync_s * 1000:
            await self._sync()
        while not self.connection.idle() and self.connection.connected:
            await asyncio.sleep_ms(20)

    async def _sync(self) -> None:
        if await self.clock_task.sync():
            state = self.wake.state
            state.synced_ms = self.ticks.uptime_ms()
            state.offset_ms = self.clock.offset_ms()

    def _settle(self) -> None:
        state = self.wake.state
        state.acked += self.connection.acks
        if self.boot.trial:
            self._judge(state)
        if self.reset_reason:
            self.wake.box.flush()
            self.wake.box.save()
            self.boot.plan_reset(self.reset_reason)
            self.boot.reset()

    def _judge(self, state) -> None:
        """The health contract, across wakes: its deadline counts the time awake."""
        gc.collect()
        contract = HealthContract(self.boot.release["health"])
        awake_ms = state.awake_ms + self.ticks.uptime_ms() - self.wake.began_ms
        connected = self.connection.connects > 0
        verdict = contract.judge(connected, state.acked, gc.mem_free(), awake_ms)
        if verdict == HEALTHY:
            self.boot.confirm()
            self.log.info("release %s confirmed" % self.boot.version)
        elif verdict == FAILED:
            self.boot.fail("unhealthy", "health", contract.why)
            self.boot.reset()

    # --- what commands ask for

    def stop(self, reason: str) -> None:
        """Reset when the connection has ended."""
        self.reset_reason = reason

    def light(self):
        """What switches the board's light; it does nothing where there is none."""
        try:
            return self.wake.wiring.pin("LED", machine.Pin.OUT).value
        except board.WiringError:
            self.log.info("identify: this board has no light")
            return lambda level: None

    # --- what it says of itself

    def _say(self) -> None:
        boot = self.boot
        if not self.wake.cold:
            return
        body = {"version": boot.version, "slot": boot.slot, "cause": boot.cause}
        body["reason"] = boot.reason
        body["mode"] = boot.mode
        self.reporter.event("boot", body)
        evidence = boot.evidence()
        for index, entry in enumerate(evidence):
            last = index == len(evidence) - 1
            self.reporter.event("evidence", entry, boot.evidence_reported if last else None)

    def unix_s(self):
        return self.clock.unix_s(self.ticks.uptime_ms())

    def _stamp(self) -> dict:
        sampler = self.wake.sampler
        stamp = {"boot": self.wake.state.boot, "seq": sampler.event_seq}
        sampler.event_seq += 1
        stamp["up"] = self.ticks.uptime_ms()
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
            "rssi": self.radio.rssi(),
            "bat": wake.scheduler.battery_mv,
            "wakes": wake.state.wakes,
            "k": wake.scheduler.k,
            "q": wake.box.depth,
            "box": [wake.box.taken, wake.box.delivered, wake.box.dropped],
            "sensors": wake.sense.errors,
        }

    def _save_access_point(self, cache) -> None:
        fields = {"ssid": cache[0], "bssid": bytes(cache[1]), "ch": cache[2]}
        self.storage.write_atomic(_ACCESS_POINT, cbor.encode(fields))

    def _save_bound(self, unix_s: int) -> None:
        self.storage.write_atomic(_CLOCK, cbor.encode({"lb": unix_s}))


async def _ask_time(server: str) -> int:
    host, _, port = server.partition(":")
    return await sntp.query(host, int(port or "123"))
