"""The composition root: makes the parts, introduces them to each other, and runs them.

The only module that knows all of core, drivers, hal and tasks. `run(boot)` is called by the
loader with the Boot object of `loader.handover`; it ends by a reset, or by raising, which the
loader counts against a release on trial.
"""

import asyncio
import gc
import os

import machine
from loader import cbor
from node.core import record, wifi
from node.core.clock import Clock
from node.core.command import Gate
from node.core.config import parse as parse_product
from node.core.desired import DesiredState
from node.core.health import HealthContract
from node.core.log import Log
from node.core.mqtt.codec import Options
from node.core.outbox import Outbox, OutboxConfig
from node.core.sampler import Sampler
from node.hal import board, link, modules, sntp, ticks, tls
from node.hal.storage import Storage
from node.hal.wifi import Radio
from node.tasks import connect, identity
from node.tasks.command import CommandTask
from node.tasks.health import HealthTask
from node.tasks.network import ClockTask, NetworkTask
from node.tasks.publish import PublishSource
from node.tasks.remote import Remote
from node.tasks.report import Reporter
from node.tasks.sense import SenseTask, columns_of, open_stations
from node.tasks.supervise import Supervisor
from node.tasks.update import Ports as UpdatePorts
from node.tasks.update import UpdateTask

_DEVICE = "/data/device.cbor"
_BOOTS = "/data/boots.cbor"
_CLOCK = "/data/clock.cbor"
_ACCESS_POINT = "/data/ap.cbor"
_IDLE_MS = 1000
_RX_MAX = 2048
_FAULTS = ("watchdog", "hard", "exception", "unhealthy")  # loader.layout: what ends a run badly


class NotProvisioned(Exception):
    """There is no device configuration or identity yet: the factory has to write it."""


def run(boot) -> None:
    """Run the node until the supervisor stops it; then reset."""
    storage = Storage()
    try:
        node = Node(boot, storage)
    except NotProvisioned as error:
        _wait_for_factory(boot, error)
        return
    asyncio.run(node.run())
    boot.reset()


def _wait_for_factory(boot, error) -> None:
    """Keep the watchdog quiet and leave the REPL to the station: Ctrl-C gets there."""
    import time

    print("outpost: not provisioned (%s); waiting for the station" % error)
    while True:
        if boot.watchdog is not None:
            boot.watchdog.feed()
        time.sleep_ms(_IDLE_MS)


def _read_map(storage, path: str) -> dict:
    """A CBOR map from flash; empty when it is missing or damaged."""
    data = storage.read(path)
    if not data:
        return {}
    try:
        found = cbor.decode(data)
    except cbor.VerifyError:
        return {}
    return found if isinstance(found, dict) else {}


class Node:
    """One device. The constructor reads flash and makes objects; `run` starts them."""

    def __init__(self, boot, storage) -> None:
        self.boot = boot
        self.storage = storage
        self.device = _read_map(storage, _DEVICE)
        if not isinstance(self.device.get("id"), str):
            raise NotProvisioned("no " + _DEVICE)
        self.ticks = ticks.Ticks()
        self.log = Log(self.ticks.uptime_ms, sink=print)
        product = storage.read(boot.slot + "/product.cbor")
        self.config = parse_product(product)
        self.product = cbor.decode(product)
        self.identity = identity.Identity(storage, os.urandom, machine.unique_id())
        self.tls, self.certificate = self._make_tls()
        self.boot_number = self._count_boot()
        self.desired = DesiredState(storage, "/data/desired.cbor")
        self.desired.started(boot.cause in _FAULTS)
        self._make_clock()
        self._make_network()
        self._make_connection()
        self._make_update()
        self._make_telemetry()
        self.supervisor = Supervisor(self.ticks.uptime_ms, self.log, boot.watchdog)
        self._make_remote()
        gc.collect()

    # --- parts

    def _make_tls(self):
        """TLS first: it needs the largest block of the heap in one piece."""
        try:
            key, certificate, authority = self.identity.credentials()
        except identity.IdentityError as error:
            raise NotProvisioned(error.code)
        memory = tls.memory_of_this_chip()
        return tls.Tls(certificate, key, [authority] if authority else [], memory), certificate

    def _count_boot(self) -> int:
        number = _read_map(self.storage, _BOOTS).get("n", 0) + 1
        self.storage.write_atomic(_BOOTS, cbor.encode({"n": number}))
        return number

    def _make_clock(self) -> None:
        bound_s = _read_map(self.storage, _CLOCK).get("lb", 0)
        self.clock = Clock(bound_s if isinstance(bound_s, int) else 0)
        if self.boot.cause != "power_on":  # some chips' clocks run through a reset
            self.clock.restore(ticks.chip_unix_s() * 1000, self.ticks.uptime_ms())

    def _make_network(self) -> None:
        self.radio = Radio(self.device.get("country", ""), self.device["id"])
        cached = _read_map(self.storage, _ACCESS_POINT)
        cache = (cached["ssid"], cached["bssid"], cached["ch"]) if len(cached) == 3 else None
        networks = wifi.networks_from(self.device.get("wifi", []))
        policy = wifi.WifiPolicy(networks, link.Ports().below, cache)
        self.network = NetworkTask(
            policy, self.radio, self.ticks.uptime_ms, self.log, self._save_access_point
        )
        self.clock_task = ClockTask(
            self.clock,
            self.device.get("ntp", []),
            self.network,
            (_ask_time, self.ticks.uptime_ms, ticks.set_chip_clock, self._save_bound, self.log),
        )

    def _make_connection(self) -> None:
        broker = self.device["broker"]
        options = Options(self.device["id"])
        options.max_packet = _RX_MAX
        will = cbor.encode({"on": False})
        options.will = ("v1/%s/up/status" % self.device["id"], will, 1, True)
        feed = self.boot.watchdog.feed if self.boot.watchdog is not None else None
        self.ports = link.Ports(self.tls, feed, lambda: self.network.up)
        config = connect.Config(broker["host"], broker["port"], options)
        self.connection = connect.Connection(config, self.ports, self.log)
        interval_s = self.desired.get("heartbeat_s", self.config.heartbeat_s)
        self.reporter = Reporter(
            self.connection, self._heartbeat, self._state, self._stamp, interval_s
        )

    def _make_update(self) -> None:
        url = self.device["update"]["url"]
        ports = UpdatePorts(link.Link, self.ticks.uptime_ms, self.ports.below, self._reboot_update)
        ports.tls = self.tls
        ports.connection = self.connection
        ports.online = self.ports.online
        ports.idle = lambda: self.reporter.idle
        ports.unix_s = self.unix_s
        self._update_ports = ports
        self._update_memory = None
        interval_s = self.desired.get("update.check_s", self._setting("update", "check_s", 3600))
        check = (self._open_check, self._close_check, url.startswith("https:"))
        self.update_task = UpdateTask(check, ports, interval_s, self.log)

    def _open_check(self):
        """Load the updater, with what it remembers of its last check."""
        gc.collect()
        self._modules = modules.loaded()
        from node.core.update import Config, Update
        from node.hal.slotfiles import SlotFiles
        from node.tasks.download import Download

        place = self.device["update"]
        config = Config(place["url"], place["head"])
        self._updater = Update(self.boot, SlotFiles(), config, self._update_moved)
        if self._update_memory is not None:
            self._updater.recall(self._update_memory)
        return Download(self._updater, self._update_ports)

    def _close_check(self, download) -> None:
        self._update_memory = self._updater.memory()
        download.updater = self._updater = None
        modules.forget(self._modules)

    def light(self, level: int) -> None:
        """The board's own light on or off; nothing where it has none."""
        try:
            self.wiring.pin("LED", machine.Pin.OUT).value(level)
        except board.WiringError:
            self.log.info("identify: this board has no light")

    def _make_telemetry(self) -> None:
        slot, product = self.boot.slot, self.config
        self.wiring = board.load("%s/boards/%s.cbor" % (slot, self.boot.device["board"]))
        settings = OutboxConfig()
        settings.segments = product.outbox_bytes // settings.segment_bytes
        settings.policy = "thin" if product.outbox_policy == "thin" else "drop"
        settings.keep = product.outbox_keep
        settings.flush_ms = product.flush_ms
        self.outbox = Outbox(self.storage, settings)
        self.outbox.open()
        schema_id = record.schema_id(self.storage.read(slot + "/schema.cbor"))
        columns = columns_of(product)
        self.sampler = Sampler(product, columns, (schema_id, self.boot_number))
        stations = open_stations(product, self._buses(product))
        ports = (self.ticks.uptime_ms, self.clock.offset_ms, self.log)
        self.sense = SenseTask(product, stations, self.sampler, self.outbox, ports)
        self.publisher = PublishSource(self.outbox, self.boot_number, self.clock.offset_ms)
        self.connection.add_source(self.publisher)

    def _buses(self, product) -> dict:
        """The buses that sensors name; a part on a pin of its own has the empty name."""
        found = {}
        for sensor in product.sensors:
            if sensor.bus not in found:
                found[sensor.bus] = self.wiring.bus(sensor.bus) if sensor.bus else self.wiring
        return found

    def _make_remote(self) -> None:
        gate = Gate(self.storage, "/data/commands.cbor", self.boot_number)
        self.commands = CommandTask(
            self.connection, gate, self.ticks.uptime_ms, self.unix_s, self.log
        )
        self.remote = Remote(self)
        self.remote.register(self.commands)

    # --- life

    async def run(self) -> None:
        add = self.supervisor.add
        add("network", self.network)
        add("clock", self.clock_task)
        add("connection", self.connection)
        add("report", self.reporter)
        add("sense", self.sense)
        add("command", self.commands)
        add("update", self.update_task)
        if self.boot.trial:
            add("health", self._health_task())
        self._say_hello()
        await self.supervisor.run()
        self.sense.close_batch()
        self.outbox.flush()
        self.outbox.save()
        await self.connection.stop()
        self.radio.off()

    def stop(self, reason: str) -> None:
        """End in good order, then reset. `reason` is what the next boot is told."""
        self.boot.plan_reset(reason)
        self.supervisor.stop()

    def _health_task(self):
        ports = (
            self.ticks.uptime_ms,
            lambda: self.connection.counters["acked"],
            self._confirmed,
            self._gave_up,
        )
        contract = HealthContract(self.boot.release["health"])
        return HealthTask(contract, self.connection, ports)

    def _confirmed(self) -> None:
        self.boot.confirm()
        self.log.info("release %s confirmed" % self.boot.version)
        body = {"s": "confirmed", "release": self.boot.digest}
        self.reporter.event("update", body)
        self.reporter.state_changed()

    def _gave_up(self, why: str) -> None:
        self.log.error("release %s is not healthy: %s" % (self.boot.version, why))
        self.boot.fail("unhealthy", "health", why)
        self.supervisor.stop()

    def _reboot_update(self) -> None:
        self.stop("update")

    # --- what it says of itself

    def unix_s(self):
        return self.clock.unix_s(self.ticks.uptime_ms())

    def _setting(self, table: str, name: str, default: int) -> int:
        found = self.product.get(table)
        value = found.get(name) if isinstance(found, dict) else None
        return value if isinstance(value, int) else default

    def _say_hello(self) -> None:
        boot = self.boot
        hello = (self.device["id"], boot.version, boot.slot, boot.mode, boot.cause)
        self.log.info("%s: release %s in %s (%s), started by %s" % hello)
        gc.collect()
        self.log.info("heap: %d used, %d free" % (gc.mem_alloc(), gc.mem_free()))
        body = {"version": boot.version, "slot": boot.slot, "cause": boot.cause}
        body["reason"] = boot.reason
        body["mode"] = boot.mode
        self.reporter.event("boot", body)
        evidence = boot.evidence()
        last = len(evidence) - 1
        for index, entry in enumerate(evidence):
            done = boot.evidence_reported if index == last else None
            self.reporter.event("evidence", entry, done)

    def _stamp(self) -> dict:
        seq = self.sampler.event_seq
        self.sampler.event_seq = seq + 1
        stamp = {"boot": self.boot_number, "seq": seq, "up": self.ticks.uptime_ms()}
        now_s = self.unix_s()
        if now_s is not None:
            stamp["ts"] = now_s
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
            "desired": self.desired.report(),
        }

    def _heartbeat(self) -> dict:
        gc.collect()
        facts = {
            "on": True,
            "up": self.ticks.uptime_ms() // 1000,
            "boot": self.boot_number,
            "rst": self.boot.cause,
            "heap": gc.mem_free(),
            "rssi": self.radio.rssi(),
            "restarts": self.supervisor.restarts,
            "mqtt": self.connection.counters,
            "wifi": [self.network.policy.joins, self.network.policy.losses],
            "q": self.outbox.depth,
            "box": [self.outbox.taken, self.outbox.delivered, self.outbox.dropped],
            "sensors": self.sense.errors,
            "lost_log": self.log.dropped,
        }
        return facts

    def _update_moved(self, state: str, digest: bytes, code: str = "") -> None:
        if not digest:
            return
        body = {"s": state, "release": digest, "fetched": self._updater.fetched}
        body["blobs"] = self._updater.blobs
        if code:
            body["code"] = code
        self.reporter.event("update", body)

    def _save_access_point(self, cache) -> None:
        fields = {"ssid": cache[0], "bssid": bytes(cache[1]), "ch": cache[2]}
        self.storage.write_atomic(_ACCESS_POINT, cbor.encode(fields))

    def _save_bound(self, unix_s: int) -> None:
        self.storage.write_atomic(_CLOCK, cbor.encode({"lb": unix_s}))


async def _ask_time(server: str) -> int:
    host, _, port = server.partition(":")
    return await sntp.query(host, int(port or "123"))
