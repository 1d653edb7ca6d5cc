"""How a battery node looks for a release.

A check fits into a wake, at the end of a connection whose memory it gets; in a small heap it has a
boot for itself. An installation does not fit. So what is found is left to a boot of its own
(`node.updating`), which resets into the trial; the wakes of the trial connect each time, and the
first that delivers confirms.
"""

import asyncio

from node.core.check import FAILED, NEW
from node.core.errand import Errand
from node.hal import data, link, modules
from node.tasks.update import Ports

_DEVICE = "/data/device.cbor"
_AGAIN_MS = 21600000


class Look:
    """One question for a new release. `call` is a `parts.call.Call` whose conversation is over."""

    def __init__(self, call) -> None:
        from node.parts import check

        self._call = call
        self._errand = Errand(call.storage)
        net = link.Ports(None, call.boot.watchdog and call.boot.watchdog.feed, call.station.joined)
        net.resolve = call.resolve
        ports = Ports(net.link, call.ticks.uptime_ms, call.below, None)
        if data.read_map(call.storage, _DEVICE)["update"]["url"].startswith("https:"):
            from node.parts.dial import make_tls

            ports.tls = make_tls(call)
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
        state = call.wake.state
        # without an answer the next is sooner
        state.checked_ms = call.ticks.uptime_ms() + _AGAIN_MS - 1000 * call.interval_s
        try:
            await asyncio.wait_for_ms(self._download.run(budget.feed), budget.left_ms())
        except asyncio.TimeoutError:
            return
        call.log.info("update: %s %s" % (call.updater.outcome, call.updater.code))
        if call.updater.outcome != FAILED:
            state.checked_ms = call.ticks.uptime_ms()
        if call.updater.outcome == NEW:
            self._errand.send(call.unix_s())
            call.stop("update")


def _no_matter(state, digest, code="") -> None:
    """What becomes of it, the updating boot tells."""
