"""Second stage of composing a node (see `basis`): broker, reports, commands, updates."""

from loader import cbor
from node.core.mqtt.codec import Options
from node.hal import link, modules
from node.tasks.connect import Config, Connection
from node.tasks.inbox import Inbox
from node.tasks.report import Reporter
from node.tasks.update import Ports, UpdateTask

_DEVICE = "/data/device.cbor"
_RX_MAX = 1536


def make(node) -> bool:
    from node.hal import data

    modules.keep(("node.parts.wire",))
    device = data.read_map(node.storage, _DEVICE)
    product = data.read_map(node.storage, node.boot.slot + "/product.cbor")
    _connection(node, device["broker"], product)
    _update(node, device["update"], product)
    return True


def _connection(node, broker, product) -> None:
    options = Options(node.id)
    options.max_packet = _RX_MAX
    options.version = _setting(product, "mqtt", "version", 4)
    options.will = ("v1/%s/up/status" % node.id, cbor.encode({"on": False}), 1, True)
    feed = node.boot.watchdog.feed if node.boot.watchdog is not None else None
    node.ports = ports = link.Ports(node.tls, feed, node.radio.online)
    ports.forget = modules.drop
    ports.resolve = node.resolve
    config = Config(broker["host"], broker["port"], options)
    node.connection = Connection(config, ports, node.log)
    interval_s = _setting(product, "telemetry", "heartbeat_s", 60)
    node.reporter = Reporter(node.connection, node.heartbeat, node.state, node.stamp, interval_s)
    node.inbox = Inbox(node.connection, (node.open_hands, node.close_hands), node.log)


def _update(node, place, product) -> None:
    from node.core.errand import Errand

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
    errand = Errand(node.storage)
    ports.unfinished = errand.tries > 0
    if node.boot.cause == "power_on":
        errand.powered_on()
    interval_s = _setting(product, "update", "check_s", 3600)
    check = (node.open_check, node.close_check, place["url"].startswith("https:"))
    node.update_task = UpdateTask(check, ports, interval_s, node.log, errand.wait_s())


def _setting(product, table: str, name: str, default: int) -> int:
    found = product.get(table)
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, int) else default
