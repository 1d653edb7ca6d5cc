"""Last stage of composing a node (see `basis`): tasks, first reports, what was under way."""

import gc

from node.hal import modules
from node.tasks.supervise import Supervisor

_COMMANDS = "/data/commands.cbor"


def make(node) -> bool:
    modules.keep(("node.parts.begin",))
    node.supervisor = Supervisor(node.ticks.uptime_ms, node.log, node.boot.watchdog)
    _tasks(node)
    _hello(node)
    _interrupted(node)
    _spend(node)
    return True


def _tasks(node) -> None:
    add = node.supervisor.add
    add("network", node.radio)
    add("clock", node.clock_watch)
    add("connection", node.connection)
    add("report", node.reporter)
    add("sense", node.sense)
    add("command", node.inbox)
    add("update", node.update_task)
    if node.boot.trial:
        add("health", _health_task(node))


def _hello(node) -> None:
    boot = node.boot
    hello = (node.id, boot.version, boot.slot, boot.mode, boot.cause)
    node.log.info("%s: release %s in %s (%s), started by %s" % hello)
    modules.briefly("node.parts.hello", "say", node)
    gc.collect()


def _interrupted(node) -> None:
    """A command that the reset has ended, if there is one."""
    if b"started" in (node.storage.read(_COMMANDS) or b""):
        from node.parts import hands

        hands.interrupted(node)


def _spend(node) -> None:
    """Forget how to make what there is one of, and how the loader chose: 5 kB."""
    from node import powered
    from node.core import batcher, filter, lane, outbox
    from node.core.mqtt import backoff, reader, session, window
    from node.drivers import sensor
    from node.hal import link
    from node.parts import spent
    from node.tasks import connect, sense, update

    made = [batcher.Batcher, filter.ChannelFilter, filter.Deadband, lane.Lane, lane.Cache]
    made += [outbox.OutboxConfig, backoff.Backoff, reader.Reader, session.Session, window.Window]
    made += [sensor.Sensor, sense.Station, link.Ports, connect.Config, update.Ports]
    made += [powered.Node]
    parts = [node.clock, node.connection, node.log, node.outbox, node.reporter, node.sampler]
    parts += [node.sense, node.supervisor, node.update_task, node.clock_watch, node.inbox]
    parts += [node.radio, node.tls, node.ticks, node.connection.config.options]
    spent.constructors(made + [type(part) for part in parts])
    spent.by_loader()
    Supervisor.add = connect.Connection.subscribe = connect.Connection.add_source = None
    node.clock_watch = None


def _health_task(node):
    from node.core.health import HealthContract
    from node.tasks.health import HealthTask

    ports = (node.ticks.uptime_ms, node.acknowledged, node.confirmed, node.gave_up)
    return HealthTask(HealthContract(node.boot.release["health"]), node.connection, ports)
