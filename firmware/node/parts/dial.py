"""How a call of battery mode is composed and kept going: loaded for each step, then forgotten."""

import gc

from loader import cbor
from node.hal import data, modules

_DEVICE = "/data/device.cbor"
_CLOCK = "/data/clock.cbor"
_COMMANDS = "/data/commands.cbor"
_RX_MAX = 1536
_OPEN_MS = 5000  # a lost SYN is sent again after 3 s; each ms here is paid by each outage
# what has made the context, and read the certificate
_MADE = ("node.tasks.identity", "node.hal.tls_context", "node.core.certificate")
_MADE += ("node.parts.papers",)
# at least, between checks, where they have a boot of their own and where not: a rollout's command
# asks for one at once
_CHECK_S = (86400, 21600)


def open_station(call) -> None:
    """Before the radio is on: who this is, its network interface, its clock."""
    from node.core.clock import Clock
    from node.hal.station import Station

    device = data.read_map(call.storage, _DEVICE)
    call.id = device["id"]
    call.station = Station(device.get("country", ""), call.id)
    product = data.read_map(call.storage, call.boot.slot + "/product.cbor")
    call.sync_ms = 1000 * product.get("battery", {}).get("sync_s", 86400)
    call.interval_s = max(_CHECK_S[call.wake.roomy], product.get("update", {}).get("check_s", 0))
    bound_s = data.read_map(call.storage, _CLOCK).get("lb", 0)
    call.clock = Clock(bound_s if isinstance(bound_s, int) else 0)
    offset_ms, up_ms = call.wake.state.offset_ms, call.ticks.uptime_ms()
    if offset_ms >= 0:
        call.clock.restore(offset_ms + up_ms, up_ms)
    _read_root(call)
    modules.forget_verifier()


def _read_root(call) -> None:
    """What the conversation may want of it. It takes 10 kB for a moment; later they are not there.
    """
    root = call.boot.root
    call.root_version = root["version"]
    ops = root["roles"]["ops"]
    call.ops_root = {"roles": {"ops": ops}, "keys": {kid: root["keys"][kid] for kid in ops[1]}}


def compose(call, budget):
    """The conversation's parts; the Courier. What is imported here stays while it lasts. TLS comes
    first, for it needs the largest block."""
    secure = make_tls(call)
    modules.briefly("node.parts.papers", "introduce", call, call.certificate)
    for name in _MADE:
        modules.drop(name)
    gc.collect()
    from node.core.mqtt.codec import Options
    from node.hal import link
    from node.tasks import connect
    from node.tasks.courier import Courier
    from node.tasks.inbox import Inbox
    from node.tasks.publish import PublishSource
    from node.tasks.report import Reporter

    broker = data.read_map(call.storage, _DEVICE)["broker"]
    options = Options(call.id)
    options.max_packet = _RX_MAX
    options.few = True
    ports = link.Ports(secure, budget.feed, call.station.joined, call.resolve)
    ports.forget = modules.drop
    config = connect.Config(broker["host"], broker["port"], options)
    config.open_timeout_ms = _OPEN_MS
    config.resubscribe = call.wake.cold
    call.connection = connection = connect.Connection(config, ports, call.log)
    call.reporter = Reporter(connection, None, call.state, call.stamp, 0)
    call.publisher = PublishSource(call.wake.box, call.boot_number, call.clock.offset_ms)
    connection.add_source(call.publisher)
    call.inbox = Inbox(connection, (call.open_hands, call.close_hands), call.log)
    call.inbox.may = call.has_told
    courier = Courier(connection, call.inbox, call.station.joined, budget)
    if not call.wake.roomy:
        _spend([call, courier, ports, config, options, secure, budget])
    return courier


def _spend(made) -> None:
    """Forget how to make what there is one of: at the end of this boot is a reset."""
    from node.parts import spent

    call = made[0]
    session = call.connection.session
    made += [call.connection, call.reporter, call.publisher, call.inbox, call.clock, call.station]
    made += [session, session.window, session.reader, call.wake.state]
    spent.constructors([type(part) for part in made])
    modules.drop("node.parts.spent")


def make_tls(call):
    """TLS with the device's own certificate; what reads that goes before the context comes."""
    import os

    import machine
    from node.hal import tls
    from node.tasks import identity

    own = identity.Identity(call.storage, os.urandom, machine.unique_id())
    key, certificate, authority = own.credentials()
    own = identity = None
    modules.drop("node.tasks.identity")
    call.certificate = certificate
    authorities = [authority] if authority else []
    return tls.Tls(certificate, key, authorities, tls.memory_of_this_chip())


def go_on(call) -> None:
    """With what was under way before, and what is to be told of it."""
    if call.wake.cold:
        modules.briefly("node.parts.hello", "say", call)
        if call.boot.cause == "power_on":
            modules.briefly("node.parts.hello", "powered_on", call.storage)
        if b"started" in (call.storage.read(_COMMANDS) or b""):
            modules.briefly("node.parts.hands", "interrupted", call)
    now_s = call.unix_s()
    if call.renew_s is not None and now_s is not None and now_s >= call.renew_s:
        call.inbox.put("certificate", b"")


def say_status(call) -> None:
    """The heartbeat of a device that is about to sleep, retained."""
    gc.collect()
    wake = call.wake
    if wake.box is not None:
        wake.count()
    depth, samples = wake.counts
    status = {
        "on": True,
        "up": call.ticks.uptime_ms() // 1000,
        "boot": wake.state.boot,
        "rst": call.boot.cause,
        "heap": gc.mem_free(),
        "rssi": call.station.rssi(),
        "bat": wake.battery_mv,
        "wakes": wake.state.wakes,
        "k": wake.every,
        "next": wake.next_s,
        "q": depth,
        "box": samples,
        "sensors": wake.state.errors,
    }
    call.connection.publish("status", cbor.encode(status), retain=True)
