"""First stage of composing a node: storage, identity, log, clock and network.

The stages (`basis`, `recipe`, `probes`, `wire`, `senses`, `begin`) are loaded one after the other
and forgotten, so that the heap never holds how to make everything beside everything. What a stage
imports at its head lives on (`modules.keep`); what its functions import does not, and no function
of a stage may: it would keep all of it. TLS comes first, for it needs the largest block of the
heap in one piece.
"""

import gc
import os

import machine
from node.core.clock import Clock
from node.core.log import Log
from node.hal import modules, ticks, tls
from node.hal.storage import Storage
from node.tasks.watch import ClockWatch, RadioWatch

DEVICE = "/data/device.cbor"
CLOCK = "/data/clock.cbor"
_IDLE_MS = 1000
_GOES = ("node.parts.basis", "loader.slots", "loader.trust", "loader.choose")


class NotProvisioned(Exception):
    """There is no device configuration or identity yet: the factory has to write it."""


def make(node) -> bool:
    """False: Ctrl-C came while the factory was due."""
    modules.keep(_GOES)
    node.root_version = node.boot.root["version"]  # while what reads it is still loaded
    modules.forget_verifier()
    gc.collect()
    node.storage = Storage()
    try:
        device = _device(node.storage)
        node.tls = _tls(node.storage)
    except NotProvisioned as error:
        _wait_for_factory(node.boot, error)
        return False
    node.id = device["id"]
    node.ticks = ticks.Ticks()
    node.log = Log(node.ticks.uptime_ms, 1024, print)
    _clock(node)
    _network(node, device)
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
    own = None
    modules.drop("node.tasks.identity")  # five kilobytes, before the context takes its own
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


def _clock(node) -> None:
    from node.hal import data

    node.boot_number = data.count_boot(node.storage)
    bound_s = data.read_map(node.storage, CLOCK).get("lb", 0)
    node.clock = Clock(bound_s if isinstance(bound_s, int) else 0)
    if node.boot.cause != "power_on":  # some chips' clocks run through a reset
        node.clock.restore(ticks.chip_unix_s() * 1000, node.ticks.uptime_ms())


def _network(node, device) -> None:
    from node.hal import board
    from node.parts.online import open_station

    boot = node.boot
    wiring = board.load("%s/board-%s.cbor" % (boot.slot, boot.device["board"]))
    node.station = open_station(wiring.data.get("ethernet"), device, node.id)
    joining = (node.open_joining, modules.give_back, node.log)
    node.radio = RadioWatch(node.station, node.ticks.uptime_ms, joining)
    node.clock_watch = ClockWatch(
        node.radio, node.ticks.uptime_ms, (node.open_asking, modules.give_back)
    )
