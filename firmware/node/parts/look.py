"""What a battery node has to do with releases: it looks for one, is judged, and tells.

A check fits into a wake, at the end of a connection whose memory it gets; an installation does
not. So what is found is left to a boot of its own (`node.updating`), which resets into the
trial; the wakes of the trial connect each time, and the first that delivers confirms.
"""

import asyncio
import gc

from node.core.check import NEW
from node.core.errand import Errand
from node.core.health import FAILED, HEALTHY, HealthContract
from node.hal import link, modules
from node.tasks.update import Ports


def say(call) -> None:
    """After a cold start: what started it, what went wrong before, how the last update went."""
    boot, reporter = call.boot, call.reporter
    body = {"version": boot.version, "slot": boot.slot, "cause": boot.cause}
    body["reason"] = boot.reason
    body["mode"] = boot.mode
    reporter.event("boot", body)
    evidence = boot.evidence()
    for index, entry in enumerate(evidence):
        last = index == len(evidence) - 1
        reporter.event("evidence", entry, boot.evidence_reported if last else None)
    errand = Errand(call.storage)
    if boot.cause == "power_on":
        errand.powered_on()
    for index, body in enumerate(errand.told):
        last = index == len(errand.told) - 1
        reporter.event("update", body, errand.all_told if last else None)


def judge(call) -> bool:
    """The health contract, across wakes: its deadline counts the time awake. True: confirmed."""
    gc.collect()
    boot, state = call.boot, call.wake.state
    contract = HealthContract(boot.release["health"])
    acked = state.acked + (call.connection.acks if call.connection is not None else 0)
    awake_ms = state.awake_ms + call.wake.awake_ms()
    verdict = contract.judge(acked > 0, acked, gc.mem_free(), awake_ms)
    if verdict == HEALTHY:
        boot.confirm()
        call.log.info("release %s confirmed" % boot.version)
        return True
    if verdict == FAILED:
        boot.fail("unhealthy", "health", contract.why)
        boot.reset()
    return False


class Look:
    """One question for a new release. `call` is a `parts.call.Call` whose conversation is over."""

    def __init__(self, call) -> None:
        from node.parts import check

        self._call = call
        self._errand = Errand(call.storage)
        net = link.Ports(None, call.boot.watchdog and call.boot.watchdog.feed, call.station.joined)
        net.resolve = call.resolve
        ports = Ports(net.link, call.ticks.uptime_ms, call.below, None)
        if call.device["update"]["url"].startswith("https:"):
            ports.tls = call.make_tls()
        ports.unix_s = call.unix_s
        ports.forget = modules.forget_verifier
        call.update_ports = ports
        call.update_memory = None
        call.deferred_until_ms = -1
        call.update_moved = _no_matter
        self._download = check.open_check(call)

    async def run(self, budget) -> None:
        """Ask; when there is a release, the reset that follows is for it."""
        call = self._call
        if call.ticks.uptime_ms() < self._errand.wait_s() * 1000:
            return  # what came to nothing is tried again later and later
        call.wake.state.checked_ms = call.ticks.uptime_ms()
        try:
            await asyncio.wait_for_ms(self._download.run(budget.feed), budget.left_ms())
        except asyncio.TimeoutError:
            return
        call.log.info("update: %s %s" % (call.updater.outcome, call.updater.code))
        if call.updater.outcome == NEW:
            self._errand.send(call.unix_s())
            call.stop("update")


def _no_matter(state, digest, code="") -> None:
    """What becomes of it, the updating boot tells."""
