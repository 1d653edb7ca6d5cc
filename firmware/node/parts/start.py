"""Composes the node: loaded for the start, forgotten after it.

What is imported at the head of this file lives on; what the functions import does not, and no
function of this file may: it would keep all of it. Order matters in one place: TLS first, for it
needs the largest block of the heap in one piece.
"""

import gc
import os

import machine
from loader import cbor
from node.core.clock import Clock
from node.core.log import Log
from node.core.mqtt.codec import Options
from node.core.outbox import Outbox
from node.core.sampler import Sampler
from node.hal import link, modules, ticks, tls
from node.hal.storage import Storage
from node.tasks.connect import Config as ConnectionConfig
from node.tasks.connect import Connection
from node.tasks.publish import PublishSource
from node.tasks.report import Reporter
from node.tasks.sense import SenseTask
from node.tasks.supervise import Supervisor
from node.tasks.update import Ports, UpdateTask
from node.tasks.watch import ClockWatch, Inbox, RadioWatch

DEVICE = "/data/device.cbor"
CLOCK = "/data/clock.cbor"
ACCESS_POINT = "/data/ap.cbor"
COMMANDS = "/data/commands.cbor"
_IDLE_MS = 1000
_RX_MAX = 2048


class NotProvisioned(Exception):
    """There is no device configuration or identity yet: the factory has to write it."""


def compose(node) -> bool:
    """Make the parts of `node` and add its tasks. False: Ctrl-C came while the factory was due."""
    modules.keep(("node.parts.start", "loader.slots", "loader.trust", "loader.choose"))
    node.root_version = node.boot.root["version"]  # while what reads it is still loaded
    modules.forget_verifier()
    gc.collect()
    storage = node.storage = Storage()
    try:
        device = _device(storage)
        node.tls = _tls(storage)
    except NotProvisioned as error:
        _wait_for_factory(node.boot, error)
        return False
    node.id = device["id"]
    node.ticks = ticks.Ticks()
    node.log = Log(node.ticks.uptime_ms, 1024, print)
    _Composer(node, device).compose()
    return True


def _device(storage) -> dict:
    from node.hal import data

    device = data.read_map(storage, DEVICE)
    if not isinstance(device.get("id"), str):
        raise NotProvisioned("no " + DEVICE)
    return device


def _tls(storage):
    from node.tasks import identity

    try:
        own = identity.Identity(storage, os.urandom, machine.unique_id())
        key, certificate, authority = own.credentials()
    except identity.IdentityError as error:
        raise NotProvisioned(error.code)
    memory = tls.memory_of_this_chip()
    return tls.Tls(certificate, key, [authority] if authority else [], memory)


def _wait_for_factory(boot, error) -> None:
    """Keep the watchdog quiet and leave the REPL to the station: Ctrl-C gets there."""
    import time

    print("outpost: not provisioned (%s); waiting for the station" % error)
    while True:
        if boot.watchdog is not None:
            boot.watchdog.feed()
        time.sleep_ms(_IDLE_MS)


class _Composer:
    """What is needed to compose a node, and not afterwards."""

    def __init__(self, node, device: dict) -> None:
        from node.core.config import parse
        from node.hal import data

        self.node = node
        self.device = device
        product = node.storage.read(node.boot.slot + "/product.cbor")
        self.config = parse(product)
        self.product = cbor.decode(product)
        self.data = data
        self.wiring = self._wiring()
        node.boot_number = data.count_boot(node.storage)

    def compose(self) -> None:
        node = self.node
        for step in (self._clock, self._network, self._connection, self._update, self._telemetry):
            step()
            gc.collect()  # what composing leaves behind must not end up between what stays
        node.supervisor = Supervisor(node.ticks.uptime_ms, node.log, node.boot.watchdog)
        hands = (node.open_hands, node.close_hands)
        self.inbox = node.inbox = Inbox(node.connection, hands, node.log)
        self._tasks()
        self._hello()
        self._go_on()
        _spend()

    def _wiring(self):
        from node.hal import board

        boot = self.node.boot
        return board.load("%s/board-%s.cbor" % (boot.slot, boot.device["board"]))

    def _map(self, path: str) -> dict:
        return self.data.read_map(self.node.storage, path)

    def _clock(self) -> None:
        node = self.node
        bound_s = self._map(CLOCK).get("lb", 0)
        node.clock = Clock(bound_s if isinstance(bound_s, int) else 0)
        if node.boot.cause != "power_on":  # some chips' clocks run through a reset
            node.clock.restore(ticks.chip_unix_s() * 1000, node.ticks.uptime_ms())

    def _network(self) -> None:
        from node.parts.online import open_station

        node = self.node
        node.station = open_station(self.wiring.data.get("ethernet"), self.device, node.id)
        joining = (node.open_joining, modules.give_back, node.log)
        node.radio = RadioWatch(node.station, node.ticks.uptime_ms, joining)
        asking = (node.open_asking, modules.give_back)
        self.clock_watch = ClockWatch(node.radio, node.ticks.uptime_ms, asking)

    def _connection(self) -> None:
        node, broker = self.node, self.device["broker"]
        options = Options(node.id)
        options.max_packet = _RX_MAX
        options.version = self._setting("mqtt", "version", 4)
        options.will = ("v1/%s/up/status" % node.id, cbor.encode({"on": False}), 1, True)
        feed = node.boot.watchdog.feed if node.boot.watchdog is not None else None
        node.ports = link.Ports(node.tls, feed, node.radio.online)
        node.ports.forget = modules.drop
        node.ports.resolve = node.resolve
        config = ConnectionConfig(broker["host"], broker["port"], options)
        node.connection = Connection(config, node.ports, node.log)
        interval_s = self.config.heartbeat_s
        node.reporter = Reporter(
            node.connection, node.heartbeat, node.state, node.stamp, interval_s
        )

    def _update(self) -> None:
        from node.core.errand import Errand

        node = self.node
        ports = Ports(node.ports.link, node.ticks.uptime_ms, node.ports.below, node.depart)
        ports.tls = node.tls
        ports.connection = node.connection
        ports.online = node.ports.online
        ports.idle = node.reported
        ports.unix_s = node.unix_s
        ports.forget = modules.forget_verifier
        ports.room = node.has_room
        ports.allowed = node.may_update
        node.update_ports = ports
        self.errand = Errand(node.storage)
        if node.boot.cause == "power_on":
            self.errand.powered_on()
        interval_s = self._setting("update", "check_s", 3600)
        secure = self.device["update"]["url"].startswith("https:")
        check = (node.open_check, node.close_check, secure)
        node.update_task = UpdateTask(
            check, ports, interval_s, node.log, self.errand.wait_s()
        )

    def _setting(self, table: str, name: str, default: int) -> int:
        found = self.product.get(table)
        value = found.get(name) if isinstance(found, dict) else None
        return value if isinstance(value, int) else default

    def _telemetry(self) -> None:
        from node.core import record
        from node.tasks.stations import columns_of, open_stations

        node, slot, product = self.node, self.node.boot.slot, self.config
        outbox: Outbox = self.data.open_outbox(
            node.storage, self.product, node.boot.secret
        )
        node.outbox = outbox
        schema_id = record.schema_id(node.storage.read(slot + "/schema.cbor"))
        columns = columns_of(product)
        node.sampler = Sampler(product, columns, (schema_id, node.boot_number))
        self._watch(node.storage.read(slot + "/model.cbor"))
        stations = open_stations(product, _buses(self.wiring, product))
        ports = (node.ticks.uptime_ms, node.clock.offset_ms, node.log)
        node.sense = SenseTask(product, stations, node.sampler, node.outbox, ports)
        publisher = PublishSource(node.outbox, node.boot_number, node.clock.offset_ms)
        node.connection.add_source(publisher)

    def _watch(self, trained) -> None:
        """Let the release's model look at the rows, when it has one."""
        if trained:
            from node.core.model import Model

            self.node.sampler.watch(Model(trained))

    def _tasks(self) -> None:
        node = self.node
        add = node.supervisor.add
        add("network", node.radio)
        add("clock", self.clock_watch)
        add("connection", node.connection)
        add("report", node.reporter)
        add("sense", node.sense)
        add("command", self.inbox)
        add("update", node.update_task)
        if node.boot.trial:
            add("health", _health_task(node))

    def _go_on(self) -> None:
        """With what was under way before the reset."""
        from node.parts import papers, settings

        node = self.node
        settings.started(node)
        papers.go_on(node)
        if b"started" in (node.storage.read(COMMANDS) or b""):
            from node.parts import hands

            hands.interrupted(node)
        gc.collect()

    def _hello(self) -> None:
        node, boot = self.node, self.node.boot
        hello = (node.id, boot.version, boot.slot, boot.mode, boot.cause)
        node.log.info("%s: release %s in %s (%s), started by %s" % hello)
        body = {"version": boot.version, "slot": boot.slot, "cause": boot.cause}
        body["reason"] = boot.reason
        body["mode"] = boot.mode
        node.reporter.event("boot", body)
        evidence = boot.evidence()
        last = len(evidence) - 1
        for index, entry in enumerate(evidence):
            done = boot.evidence_reported if index == last else None
            node.reporter.event("evidence", entry, done)
        told = self.errand.told  # how the last update went, which had no connection to say it
        for index, body in enumerate(told):
            done = node.all_told if index == len(told) - 1 else None
            node.reporter.event("update", body, done)
        gc.collect()


def _buses(wiring, product) -> dict:
    """The buses that sensors name; a part on a pin of its own has the empty name."""
    found = {}
    for sensor in product.sensors:
        if sensor.bus not in found:
            found[sensor.bus] = wiring.bus(sensor.bus) if sensor.bus else wiring
    return found


def _spend() -> None:
    """Forget how to make what there is one of, and how the loader chose: 5 kB.

    An assignment frees the code; `del` of a class's attribute keeps it in the slot.
    """
    from loader import start
    from loader.handover import Boot
    from node.core import batcher, filter, lane, outbox
    from node.core.mqtt import backoff, reader, session, window
    from node.drivers import sensor
    from node.tasks import sense

    made = (Clock, Connection, ConnectionConfig, Log, Options, Outbox, PublishSource, Reporter)
    made += (Sampler, SenseTask, Supervisor, UpdateTask, Ports, ClockWatch, Inbox, RadioWatch)
    made += (Boot, batcher.Batcher, filter.ChannelFilter, filter.Deadband)
    made += (lane.Lane, lane.Cache, outbox.OutboxConfig, backoff.Backoff, reader.Reader)
    made += (session.Session, window.Window, sensor.Sensor, sense.Station, link.Ports)
    made += (tls.Tls, ticks.Ticks)
    for kind in made:
        kind.__init__ = None
    Boot.select = Boot._open = Boot._settle = None
    Supervisor.add = Connection.subscribe = Connection.add_source = None
    for name in ("device_facts", "hardware_cause", "reset_cause"):
        if hasattr(start, name):
            delattr(start, name)


def _health_task(node):
    from node.core.health import HealthContract
    from node.tasks.health import HealthTask

    connection = node.connection
    ports = (
        node.ticks.uptime_ms,
        node.acknowledged,
        node.confirmed,
        node.gave_up,
    )
    return HealthTask(HealthContract(node.boot.release["health"]), connection, ports)
