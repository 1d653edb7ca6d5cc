"""The composition root of powered mode: what of it lives as long as the node does.

`run(boot)` is given the Boot object of `loader.handover`; it ends by a reset, or by raising. The
parts are made and introduced to each other by `node.parts`, whose modules are loaded for that
and forgotten: they, this and `battery` alone know all of core, drivers, hal and tasks.
"""

import asyncio
import gc

from micropython import const

from node.hal import modules

_STAGES = (
    ("node.parts.basis", "make"),
    ("node.parts.recipe", "make"),
    ("node.parts.probes", "make"),
    ("node.parts.wire", "make"),
    ("node.parts.senses", "make"),
    ("node.parts.begin", "make"),
    # with what was under way before the reset
    ("node.parts.settings", "started"),
    ("node.parts.papers", "go_on"),
)
_CHECK = "node.parts.check"
_ONLINE = "node.parts.online"
_HANDS = "node.parts.hands"
_FACTS = "node.parts.facts"
_CHECK_BYTES = const(42000)  # code and data of a check for a release, and something for the rest


def run(boot) -> None:
    """Run the node until the supervisor stops it; then reset."""
    node = Node(boot)
    for module, function in _STAGES:
        if modules.briefly(module, function, node) is False:
            return
    node.say_heap()
    asyncio.run(node.run())
    boot.reset()


class Node:
    """One device. The stages of `node.parts` set the attributes that are its parts."""

    def __init__(self, boot) -> None:
        self.boot = boot
        self.root_version = 0
        self.updater = None
        self.update_memory = self.gate_memory = None
        self.unproven_ms = -1  # when the probation of the settings in force is over
        self.renew_s = None  # when the certificate is to be renewed
        self.cert_id = b""
        self.deferred_until_ms = -1
        self.addresses: dict = {}  # the last good ones, for when DNS is down

    # --- life

    async def run(self) -> None:
        await self.supervisor.run()
        self.sense.close_batch()
        self.outbox.flush()
        self.outbox.save()
        await self.connection.stop()
        self.station.off()

    def stop(self, reason: str) -> None:
        """End in good order, then reset. `reason` is what the next boot is told."""
        self.boot.plan_reset(reason)
        self.supervisor.stop()

    def depart(self) -> None:
        """Leave the field to the update: the next boot is `updating`'s."""
        modules.briefly(_CHECK, "send_errand", self)
        self.stop("update")

    def confirmed(self) -> None:
        self.boot.confirm()
        self.log.info("release %s confirmed" % self.boot.version)
        self.reporter.event("update", {"s": "confirmed", "release": self.boot.digest})
        self.reporter.state_changed()

    def gave_up(self, why: str) -> None:
        # at hand, not on loan: a release that leaks is taken back when there is no memory left
        self.log.error("release %s is not healthy: %s" % (self.boot.version, why))
        self.boot.fail("unhealthy", "health", why)
        self.supervisor.stop()

    # --- what is loaded for the occasion

    def may_update(self) -> str:
        return modules.briefly(_CHECK, "allowed", self)

    def has_room(self) -> bool:
        gc.collect()
        return gc.mem_free() > _CHECK_BYTES

    def open_check(self):
        return modules.part(_CHECK, "open_check", self)

    def close_check(self, download) -> None:
        self.update_memory = self.updater.memory()
        download.updater = self.updater = None
        try:
            self.root_version = self.boot.root["version"]
        except MemoryError:
            pass  # it is said with the state; the next check says it
        modules.give_back()

    def defer_update(self, digest: bytes, seconds: int) -> int:
        """A person wants this release later; the seconds they get."""
        granted, until_ms = modules.briefly(_CHECK, "defer", self, digest, seconds)
        self.deferred_until_ms = until_ms
        return granted

    def open_joining(self, memory):
        return modules.part(_ONLINE, "open_joining", self, memory)

    def open_asking(self):
        return modules.part(_ONLINE, "open_asking", self)

    async def resolve(self, host, timeout_ms):
        """An address, within a deadline (hal.resolve)."""
        resolver = modules.part(_ONLINE, "open_resolver", self)
        try:
            return await resolver.resolve(host, timeout_ms)
        finally:
            resolver = None
            modules.give_back()

    def open_hands(self, kind: str):
        return modules.part(_HANDS, "open_hands", self, kind)

    def close_hands(self, hands) -> None:
        hands.close()
        modules.give_back()

    def light(self):
        """What switches the board's light; it does nothing where there is none."""
        return modules.briefly(_HANDS, "open_light", self)

    # --- what it says of itself

    def unix_s(self):
        return self.clock.unix_s(self.ticks.uptime_ms())

    def reported(self) -> bool:
        return self.reporter.idle

    def acknowledged(self) -> int:
        return self.connection.acks

    def say_heap(self) -> None:
        self.log.info("heap: %d used, %d free" % (gc.mem_alloc(), gc.mem_free()))

    def stamp(self) -> dict:
        seq = self.sampler.event_seq
        self.sampler.event_seq = seq + 1
        stamp = {"boot": self.boot_number, "seq": seq, "up": self.ticks.uptime_ms()}
        now_s = self.unix_s()
        if now_s is not None:
            stamp["ts"] = now_s
        return stamp

    def state(self) -> dict:
        return modules.briefly(_FACTS, "state", self)

    def heartbeat(self) -> dict:
        return modules.briefly(_FACTS, "heartbeat", self)

    def update_moved(self, state: str, digest: bytes, code: str = "") -> None:
        if digest:
            modules.briefly(_FACTS, "update_moved", self, state, digest, code)
