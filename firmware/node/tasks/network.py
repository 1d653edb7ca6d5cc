"""Gets the radio joined and the clock set. Loaded for that, then forgotten: see tasks.watch."""

import asyncio

from node.core import wifi
from node.core.sntp import SntpError

_POLL_MS = 100
_SYNC_S = 6 * 3600
_SYNC_RETRY_S = 30


class NetworkTask:
    """Pumps the Wi-Fi policy with the radio.

    `radio` is `hal.wifi.Radio`; `uptime_ms` a function; `on_cache(cache)` is told the access
    point worth remembering when it changes; `probe(beat)` asks whether a portal is in the way (a
    coroutine function, needed when the policy was made with probe=True).
    """

    beat_ms = 30000

    def __init__(self, policy, radio, uptime_ms, log, on_cache=None) -> None:
        self.probe = None
        self.policy = policy
        self._radio = radio
        self._uptime_ms = uptime_ms
        self._log = log
        self._on_cache = on_cache
        self._saved = policy.cache

    @property
    def up(self) -> bool:
        return self.policy.up

    async def run(self, beat) -> None:
        """Until the network is up: nothing is left to decide then."""
        self.policy.start(self._uptime_ms())
        beat()
        while not await self.pump(beat):
            await asyncio.sleep_ms(_POLL_MS)
            beat()

    async def pump(self, beat) -> bool:
        """One step, for a caller with a loop of its own; whether the network is up."""
        policy = self.policy
        was_up = policy.up
        await self._step(policy, beat)
        if policy.up and not was_up:
            self._joined(policy)
        return policy.up

    async def _step(self, policy, beat) -> None:
        now_ms = self._uptime_ms()
        policy.status(self._radio.status(), now_ms)
        policy.tick(now_ms)
        action = policy.next_action()
        while action is not None:
            if action[0] == wifi.PROBE:
                await self._ask_portal(policy, beat)
            else:
                self._act(policy, action, now_ms)
            action = policy.next_action()

    async def _ask_portal(self, policy, beat) -> None:
        code = wifi.PORTAL_UNKNOWN if self.probe is None else await self.probe(beat)
        if code == wifi.PORTAL_CAPTIVE:
            self._log.warning("wifi: a captive portal is in the way")
        policy.portal(code, self._uptime_ms())

    def _act(self, policy, action, now_ms: int) -> None:
        verb, argument = action
        try:
            found = self._radio.apply(verb, argument)
        except OSError as error:
            self._log.warning("wifi: %s failed: %r" % (verb, error))
            found = []
        if verb == wifi.SCAN:
            policy.scanned(found, now_ms)

    def _joined(self, policy) -> None:
        join = policy.joining
        self._log.info("wifi: joined %s" % (join.network.ssid if join else "?"))
        if policy.cache != self._saved and self._on_cache is not None:
            self._saved = policy.cache
            self._on_cache(policy.cache)


class ClockTask:
    """Asks time servers; tells the chip's clock what was learnt.

    `query(host)` is `hal.sntp.query`; `set_chip(unix_s)` sets the chip; `save_bound(unix_s)`
    persists the lower bound.
    """

    def __init__(self, clock, servers, ports) -> None:
        self._clock = clock
        self._servers = servers
        self._query, self._uptime_ms, self._set_chip, self._save_bound, self._log = ports

    async def step(self, turn: int) -> int:
        """Ask the `turn`-th server; seconds until the next one should be asked."""
        if not self._servers:
            return _SYNC_S
        outcome = await self._ask(self._servers[turn % len(self._servers)])
        return _SYNC_S if outcome == "ok" else 0 if outcome == "again" else _SYNC_RETRY_S

    async def sync(self) -> bool:
        """Ask now, for a caller with a loop of its own; a jump takes two servers' word."""
        for turn in range(3):
            if not self._servers:
                return False
            outcome = await self._ask(self._servers[turn % len(self._servers)])
            if outcome == "ok":
                return True
        return False

    async def _ask(self, host: str) -> str:
        try:
            unix_ms = await self._query(host)
        except SntpError as error:
            self._log.warning("sntp: %s: %s" % (host, error.code))
            return "refused"
        except OSError as error:
            self._log.info("sntp: %s: %r" % (host, error))
            return "refused"
        up_ms = self._uptime_ms()
        outcome = self._clock.synced(unix_ms, up_ms)
        if outcome == "ok":
            self._set_chip(unix_ms // 1000)
            bound_s = self._clock.bound_to_save()
            if bound_s is not None:
                self._save_bound(bound_s)
        return outcome
