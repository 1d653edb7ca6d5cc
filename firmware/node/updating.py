"""The composition root of an update: a boot of its own, with nothing in it but the updater.

A download, its verification and its installation want 50 kB of heap, in large pieces; a node that
is connected has neither the bytes nor, after weeks, the pieces. So it notes an errand
(`core.errand`) and resets; this runs instead of it, joins the network, updates, and resets: into
the new release, or back. What it has to tell the fleet, the next boot tells.

Invariants: the errand is taken back before it is begun; whatever happens, there is a reset within
`_LIMIT_MS`; nothing of progress is lost by it (it is in the slot).
"""

import asyncio
import gc

from node.core.check import CURRENT, REBOOT, REFUSED
from node.core.errand import Errand
from node.core.log import Log
from node.hal import data, link, modules, ticks
from node.hal.storage import Storage
from node.tasks.update import Ports
from node.tasks.wake import Budget, join

_DEVICE = "/data/device.cbor"
_JOIN_MS = 90000
_LIMIT_MS = 1800000


def _open_station(updating):
    from node.hal import board
    from node.parts import online

    boot = updating.boot
    wiring = board.load("%s/board-%s.cbor" % (boot.slot, boot.device["board"]))
    return online.open_station(wiring.data.get("ethernet"), updating.device, updating.id)


def _open_resolver(updating):
    from node.parts import online

    return online.open_resolver(updating)


def _open_joining(updating):
    from node.parts import online

    return online.open_joining(updating, None)


def _open_update(updating):
    from node.parts import check

    return check.open_update(updating)


class Updating:
    """One errand. What `parts` use of a node has the names of `powered.Node`."""

    def __init__(self, boot) -> None:
        self.boot = boot
        self.storage = Storage()
        self.errand = Errand(self.storage)
        self.errand.begin()
        self.ticks = ticks.Ticks()
        self.log = Log(self.ticks.uptime_ms, sink=print)
        self.device = data.read_map(self.storage, _DEVICE)
        self.id = self.device["id"]
        self.addresses = {}
        self.station = modules.borrow(_open_station, self)
        modules.give_back()
        self.ports = ports = link.Ports(None, self._feed, self.station.joined, self.resolve)
        self.update_ports = Ports(ports.link, self.ticks.uptime_ms, ports.below, boot.reset)
        self.update_ports.unix_s = self.unix_s
        self.update_ports.forget = modules.forget_verifier
        self.updater = None

    def unix_s(self):
        """By the boot before, which knew the time or did not."""
        sent_s = self.errand.unix_s
        return sent_s + self.ticks.uptime_ms() // 1000 if sent_s else None

    async def run(self) -> None:
        try:
            if await self._join():
                await asyncio.wait_for_ms(self._update(), _LIMIT_MS)
            else:
                self.log.warning("update: no network")
        except asyncio.TimeoutError:
            self.log.warning("update: too slow; it goes on another time")
        finally:
            self.station.off()

    async def _join(self) -> bool:
        budget = Budget(self.ticks.uptime_ms, _JOIN_MS, self.boot.watchdog)
        network = modules.borrow(_open_joining, self)
        try:
            return await join(network, budget)
        finally:
            network = None
            modules.give_back()

    async def _update(self) -> None:
        download = modules.borrow(_open_update, self)
        gc.collect()
        self.log.info("update: under way, %d bytes of heap free" % gc.mem_free())
        await download.run(self._feed)
        updater = self.updater
        self.log.info("update: %s %s" % (updater.outcome, updater.code))
        if updater.outcome == REFUSED:
            self.errand.refused(updater.release)
        elif updater.outcome in (CURRENT, REBOOT):
            self.errand.succeeded()

    async def resolve(self, host: str, timeout_ms: int) -> str:
        """An address, within a deadline (hal.resolve)."""
        resolver = modules.borrow(_open_resolver, self)
        try:
            return await resolver.resolve(host, timeout_ms)
        finally:
            resolver = None
            modules.give_back()

    def _feed(self) -> None:
        if self.boot.watchdog is not None:
            self.boot.watchdog.feed()

    def update_moved(self, state: str, digest: bytes, code: str = "") -> None:
        """Told by the updater; kept for the fleet."""
        if not digest:
            return
        updater = self.updater
        body = {"s": state, "release": digest, "fetched": updater.fetched}
        body["blobs"] = updater.blobs
        if code:
            body["code"] = code
        self.errand.tell(body)


def run(boot) -> None:
    """Do the errand; does not return."""
    modules.keep("")
    modules.forget_verifier()
    updating = Updating(boot)
    asyncio.run(updating.run())
    if updating.updater is None or updating.updater.outcome != REBOOT:
        boot.plan_reset("checked")
    boot.reset()
