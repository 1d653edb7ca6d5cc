"""The Wi-Fi policy: which network to join, when to give up, and when to try again.

Owns the decision only; `hal.wifi` owns the radio. A sans-I/O machine:

    next_action() -> (action, argument) or None   what the radio is to do now
    scanned(results, now_ms)                       what a scan saw
    status(code, now_ms)                           what the radio says of the link
    portal(code, now_ms)                           what the captive-portal probe said
    tick(now_ms) -> deadline_ms                    when to be called again at the latest

Theory. A device that sleeps pays for every scan (two to four seconds of radio), so the access
point of the last success is tried first, by BSSID and channel. Only when that fails is the air
scanned, once, and every known network that was seen is tried in order of priority, then signal;
hidden networks cannot be seen and come last. A round in which nobody answered is followed by a
pause with full jitter (a street of devices comes back from one power cut at once). A refused
password is a fact about the network, not about the weather: that network sits out some rounds,
so that it cannot starve the others, but is never given up, as access points also refuse the
right password while they are starting.
"""

from micropython import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# What the radio says (hal maps each port's own numbers to these).
IDLE = const(0)
JOINING = const(1)
UP = const(2)
NO_NETWORK = const(3)
WRONG_PASSWORD = const(4)
FAILED = const(5)

# What the captive-portal probe says.
PORTAL_OPEN = const(0)
PORTAL_CAPTIVE = const(1)
PORTAL_UNKNOWN = const(2)

SCAN = "scan"
JOIN = "join"
OFF = "off"
RESTART = "restart"
PROBE = "probe"

_FAST_JOIN_MS = const(5000)
_JOIN_MS = const(20000)
_SCAN_MS = const(10000)
_PROBE_MS = const(15000)
_BACKOFF_BASE_MS = const(2000)
_BACKOFF_CAP_MS = const(300000)
_RESTART_EVERY = const(4)
_PENALTY_ROUNDS = const(4)
_STABLE_MS = const(60000)
_MAX_NETWORKS = const(8)
_WEAK_DBM = const(-92)

# States
_S_OFF = const(0)
_S_SCANNING = const(1)
_S_JOINING = const(2)
_S_PROBING = const(3)
_S_UP = const(4)
_S_WAITING = const(5)


class Network:
    """A network the device may use. `static` is (address, mask, gateway, dns) or None for DHCP."""

    def __init__(self, ssid: str, psk: str, priority: int = 0, hidden: bool = False) -> None:
        self.ssid = ssid
        self.psk = psk
        self.priority = priority
        self.hidden = hidden
        self.static: tuple[str, str, str, str] | None = None
        self.penalty = 0

    def __repr__(self) -> str:  # the passphrase never reaches a log
        return "Network(%r)" % self.ssid


class Join:
    """One attempt: a network, and where it was seen (`bssid`, `channel`; None when unknown)."""

    def __init__(self, network: Network, bssid: bytes | None, channel: int | None) -> None:
        self.network = network
        self.bssid = bssid
        self.channel = channel


def networks_from(config: "list[Any]") -> list[Network]:
    """Read the `wifi` list of the device's configuration.

    Entries are maps with `ssid`, and optionally `psk`, `prio`, `hidden`, `static`. An entry
    that is not usable is left out: one bad entry must not cost the others.
    """
    found = []
    for entry in config[:_MAX_NETWORKS]:
        network = _network_from(entry)
        if network is not None:
            found.append(network)
    return found


def _network_from(entry: object) -> Network | None:
    if not isinstance(entry, dict):
        return None
    ssid, psk = entry.get("ssid"), entry.get("psk", "")
    if not isinstance(ssid, str) or not 0 < len(ssid.encode()) <= 32:
        return None
    if not isinstance(psk, str) or not (psk == "" or 8 <= len(psk) <= 64):
        return None
    priority = entry.get("prio", 0)
    network = Network(
        ssid, psk, priority if isinstance(priority, int) else 0, entry.get("hidden") is True
    )
    static = entry.get("static")
    if isinstance(static, list) and len(static) == 4:
        network.static = tuple(str(part) for part in static)  # type: ignore[assignment]
    return network


class WifiPolicy:
    """Decide which network to join. See the module's head for the protocol.

    `random_below(n)` gives 0 <= x < n. `cached` is (ssid, bssid, channel) of the last success,
    as `cache` gave it, or None.
    """

    def __init__(
        self,
        networks: list[Network],
        random_below: "Any",
        cached: "Any" = None,
        probe: bool = False,
    ) -> None:
        self.networks = networks
        self._random_below = random_below
        self.cache = cached
        self._probe = probe
        self._state = _S_OFF
        self._action: "tuple[Any, ...] | None" = None
        self._candidates: list[Join] = []
        self.joining: Join | None = None
        self._deadline_ms = 0
        self._rounds = 0
        self._up_since_ms = 0
        self.joins = 0
        self.losses = 0
        self.captive = 0

    @property
    def up(self) -> bool:
        return self._state == _S_UP

    @property
    def waiting(self) -> bool:
        """True between two rounds: a sleeping device should go back to sleep now."""
        return self._state == _S_WAITING

    def memory(self) -> "tuple[Any, ...]":
        """What the next policy must know of this one, for `recall`."""
        return self.cache, self._rounds, [network.penalty for network in self.networks]

    def recall(self, memory: "tuple[Any, ...]", lasted_ms: int) -> None:
        """Go on where another policy over the same networks was; the link then lasted so long."""
        self.cache, rounds, penalties = memory
        self._rounds = 0 if lasted_ms >= _STABLE_MS else rounds
        for network, penalty in zip(self.networks, penalties):
            network.penalty = penalty

    def next_action(self) -> "tuple[Any, ...] | None":
        action, self._action = self._action, None
        return action

    def start(self, now_ms: int) -> None:
        """Begin: the cached access point first, a scan otherwise."""
        join = self._cached_join()
        if join is not None:
            self._candidates = []
            self._join(join, now_ms, _FAST_JOIN_MS)
        else:
            self._scan(now_ms)

    def stop(self) -> None:
        self._state = _S_OFF
        self.joining = None
        self._action = (OFF, None)

    def scanned(self, results: "list[Any]", now_ms: int) -> None:
        """Take a scan: a list of (ssid, bssid, channel, rssi_dbm)."""
        if self._state != _S_SCANNING:
            return
        self._candidates = self._rank(results)
        self._next_candidate(now_ms)

    def status(self, code: int, now_ms: int) -> None:
        """Take the radio's word for the state of the link."""
        if self._state == _S_JOINING:
            self._joining_status(code, now_ms)
        elif self._state in (_S_UP, _S_PROBING) and code != UP:
            self.losses += 1
            self.start(now_ms)

    def portal(self, code: int, now_ms: int) -> None:
        if self._state != _S_PROBING:
            return
        if code == PORTAL_CAPTIVE:
            self.captive += 1
            self._penalise()
            self._next_candidate(now_ms)
        else:
            self._settle(now_ms)

    def tick(self, now_ms: int) -> int:
        """Act on deadlines that have passed; return the next one (ms, the caller's clock)."""
        if self._state == _S_UP:
            if self._rounds and now_ms - self._up_since_ms >= _STABLE_MS:
                self._rounds = 0
            return now_ms + _STABLE_MS
        if self._state != _S_OFF and now_ms >= self._deadline_ms:
            self._expired(now_ms)
        return self._deadline_ms

    # --- inside

    def _expired(self, now_ms: int) -> None:
        if self._state == _S_JOINING:
            self._next_candidate(now_ms)
        elif self._state == _S_SCANNING:
            self._wait(now_ms)
        elif self._state == _S_PROBING:
            self._settle(now_ms)  # no answer is not evidence of a portal
        elif self._state == _S_WAITING:
            self._scan(now_ms)

    def _joining_status(self, code: int, now_ms: int) -> None:
        if code == UP:
            self._joined(now_ms)
        elif code == WRONG_PASSWORD:
            self._penalise()
            self._next_candidate(now_ms)
        elif code in (NO_NETWORK, FAILED):
            self._next_candidate(now_ms)

    def _joined(self, now_ms: int) -> None:
        if self._probe:
            self._state = _S_PROBING
            self._deadline_ms = now_ms + _PROBE_MS
            self._action = (PROBE, None)
        else:
            self._settle(now_ms)

    def _settle(self, now_ms: int) -> None:
        join = self.joining
        self._state = _S_UP
        self._up_since_ms = now_ms
        self.joins += 1
        if join is not None:
            join.network.penalty = 0
            if join.bssid is not None:
                self.cache = (join.network.ssid, join.bssid, join.channel)

    def _penalise(self) -> None:
        if self.joining is not None:
            self.joining.network.penalty = _PENALTY_ROUNDS

    def _cached_join(self) -> Join | None:
        if not self.cache:
            return None
        ssid, bssid, channel = self.cache
        for network in self.networks:
            if network.ssid == ssid and not network.penalty:
                return Join(network, bssid, channel)
        return None

    def _rank(self, results: "list[Any]") -> list[Join]:
        ranked: "list[Any]" = []
        for network in self.networks:
            if network.penalty:
                network.penalty -= 1
                continue
            best = _strongest(network.ssid, results)
            if best is not None:
                weak = 1 if best[3] < _WEAK_DBM else 0
                key = (weak, -network.priority, -best[3])
                ranked.append((key, len(ranked), Join(network, best[1], best[2])))
            elif network.hidden:
                ranked.append(((2, -network.priority, 0), len(ranked), Join(network, None, None)))
        ranked.sort(key=lambda row: row[:2])
        return [row[2] for row in ranked]

    def _next_candidate(self, now_ms: int) -> None:
        if self._candidates:
            self._join(self._candidates.pop(0), now_ms, _JOIN_MS)
        elif self._state == _S_JOINING and self._fast:
            self._scan(now_ms)  # the cached access point failed: look before waiting
        else:
            self._wait(now_ms)

    def _join(self, join: Join, now_ms: int, limit_ms: int) -> None:
        self._fast = limit_ms == _FAST_JOIN_MS
        self.joining = join
        self._state = _S_JOINING
        self._deadline_ms = now_ms + limit_ms
        self._action = (JOIN, join)

    def _scan(self, now_ms: int) -> None:
        self._state = _S_SCANNING
        self._fast = False
        self.joining = None
        self._deadline_ms = now_ms + _SCAN_MS
        self._action = (SCAN, None)

    def _wait(self, now_ms: int) -> None:
        self._rounds += 1
        ceiling = min(_BACKOFF_CAP_MS, _BACKOFF_BASE_MS << min(self._rounds, 10))
        self._state = _S_WAITING
        self.joining = None
        # Full jitter, but never a busy loop: a round costs seconds of radio.
        self._deadline_ms = now_ms + _BACKOFF_BASE_MS // 2 + self._random_below(ceiling)
        # Some radios wedge after many failed joins; a power cycle of the radio is cheap.
        self._action = (RESTART if self._rounds % _RESTART_EVERY == 0 else OFF, None)


def _strongest(ssid: str, results: "list[Any]") -> "Any":
    best = None
    for row in results:
        if row[0] == ssid and (best is None or row[3] > best[3]):
            best = row
    return best
