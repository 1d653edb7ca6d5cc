"""What a wake, a connection and a failed connection take on a board, in ms by state.

The times come from boards/chips/*.toml; how many KiB littlefs reads for a wake and for a
connection was measured on the simulated board with the reference product (tests/sim/test_month.py
holds the prediction to that board's meter, within 5 %).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from outpost.boards import Board
from outpost.power.sensing import Sensing

_WAKE_KIB = 545  # loader (the seal stands for the slot's files) and what samples
_SAMPLE_KIB = 65  # of it, after the clock of the application has started
_TALK_KIB = 405  # what joins, shakes hands and talks
_CALL_BOOT_KIB = 520  # where a call has a boot of its own: until it begins
_SMALL_HEAP = 140_000  # bytes; below it a call has one (firmware/node/battery.py)
_CHECK_KIB = 110  # what asks for a release
_CHECK_S = (86400, 21600)  # between two, with a boot of their own and without (parts/dial.py)
_COLD_KIB = 850  # a cold start verifies signatures and files, and writes its state
_SCAN_MS = 1500
_LINGER_MS = 150  # tasks.wake waits for messages from the broker
_EXCHANGE_MS = 50
_TX_US = 1100  # of one connection, at 12 Mbit/s
_RX_US = 3300
_REFERENCE_KBIT_S = 12000
_OPEN_MS = 5000  # parts.call gives TCP and TLS so long
_WEAK_DBM = -70


@dataclass(frozen=True)
class Spell:
    """Awake for `awake_ms`, `slow_ms` of them at the product's slower clock; the radio was
    `connecting_ms` and `idle_ms`. Switched supplies took `rail_uams`."""

    awake_ms: int = 0
    slow_ms: int = 0
    rail_uams: int = 0
    connecting_ms: int = 0
    idle_ms: int = 0
    tx_us: int = 0
    rx_us: int = 0


class Profile:
    """The costs of `board`, while it samples at `cpu_mhz` (0: the chip's default) the sensors of
    `sensing`."""

    def __init__(self, board: Board, cpu_mhz: int = 0, sensing: Sensing | None = None) -> None:
        self.board = board
        self.sensing = sensing or Sensing()
        self._default_mhz = board.chip.freq.default_mhz
        self._mhz = cpu_mhz or self._default_mhz
        self.slow_ua = board.chip.active_ua(self._mhz)
        self.current = board.chip.current_ua
        chip = board.chip
        self.sleeps_deep = not chip.quirks.deepsleep_is_lightsleep
        self.boot_ms = chip.boot.deepsleep_wake_ms if self.sleeps_deep else 0
        self._us = chip.work.load_us_per_kib

    @property
    def sleep_ua(self) -> int:
        return self.current.deep_sleep if self.sleeps_deep else self.current.light_sleep

    def _load_ms(self, kib: int) -> int:
        return kib * self._us // 1000

    @property
    def _sample_ms(self) -> int:
        """To load what samples, at the clock for it."""
        return self._load_ms(_SAMPLE_KIB) * self._default_mhz // self._mhz

    @property
    def sampled_ms(self) -> int:
        """As the device sees it: since its application's clock started."""
        return self._sample_ms + self.sensing.awake_ms

    def wake(self) -> Spell:
        """Boot and load; where RAM is kept only the sampling part is loaded again."""
        sample_ms = self._sample_ms
        fast_ms = self.boot_ms
        if self.sleeps_deep:
            fast_ms += self._load_ms(_WAKE_KIB - _SAMPLE_KIB)
        return Spell(fast_ms + sample_ms, slow_ms=sample_ms)

    @property
    def calls_apart(self) -> bool:
        """A call has a boot of its own: the heap does not hold it after what samples."""
        return self.sleeps_deep and self.board.heap_bytes < _SMALL_HEAP

    def call_boot(self) -> Spell:
        """The second boot of a wake that connects; nothing where there is none."""
        if not self.calls_apart:
            return Spell()
        return Spell(self.boot_ms + self._load_ms(_CALL_BOOT_KIB))

    def sensor(self) -> Spell:
        """Awake while the supplies warm up and the sensors convert."""
        awake_ms = self.sensing.awake_ms
        return Spell(awake_ms, slow_ms=awake_ms, rail_uams=self.sensing.rail_uams)

    def cold(self) -> Spell:
        """What a cold start needs more than a wake: signatures, and a scan for the network."""
        work = self.board.chip.boot.rom_ms + self._load_ms(_COLD_KIB - _WAKE_KIB)
        return Spell(work + _SCAN_MS, connecting_ms=_SCAN_MS)

    def join_ms(self, rssi_dbm: int, cached: bool) -> int:
        wait = self.board.chip.radio.join_ms
        wait = wait * 2 // 3 if cached else wait
        if rssi_dbm < _WEAK_DBM:
            wait += wait * (_WEAK_DBM - rssi_dbm) // 10
        return wait

    def connection(self, rssi_dbm: int) -> Spell:
        """Join by the cached access point, TLS, everything delivered, goodbye."""
        join = self.join_ms(rssi_dbm, cached=True)
        work = self.board.chip.work
        talk = work.handshake_ms + self._load_ms(_TALK_KIB) + _LINGER_MS + _EXCHANGE_MS
        scale = _REFERENCE_KBIT_S / self.board.chip.radio.phy_kbit_s
        tx_us, rx_us = round(_TX_US * scale), round(_RX_US * scale)
        return _radio(join, talk, tx_us, rx_us)

    def check_s(self, wanted_s: int) -> int:
        """Seconds between two checks for a release, when product.toml wants `wanted_s`."""
        return max(_CHECK_S[not self.calls_apart], wanted_s)

    def check(self, rssi_dbm: int) -> Spell:
        """Asking for a release when the conversation is over: in a small heap a boot of its own,
        which joins again."""
        ask = self._load_ms(_CHECK_KIB) + _EXCHANGE_MS
        if not self.calls_apart:
            return _radio(0, ask)
        boot, talk = self.call_boot(), _radio(self.join_ms(rssi_dbm, cached=True), ask)
        return replace(talk, awake_ms=boot.awake_ms + talk.awake_ms)

    def no_network(self) -> Spell:
        """The cached access point does not answer, a scan finds nothing."""
        join = self.join_ms(0, cached=True)
        load = self._load_ms(_TALK_KIB // 2)
        return Spell(join + _SCAN_MS + load, connecting_ms=join + _SCAN_MS)

    def no_broker(self, rssi_dbm: int) -> Spell:
        """Joined, and nobody answers behind the access point."""
        join = self.join_ms(rssi_dbm, cached=True)
        talk = _OPEN_MS + self._load_ms(_TALK_KIB)
        return _radio(join, talk)


def _radio(join_ms: int, talk_ms: int, tx_us: int = 0, rx_us: int = 0) -> Spell:
    return Spell(
        join_ms + talk_ms, connecting_ms=join_ms, idle_ms=talk_ms, tx_us=tx_us, rx_us=rx_us
    )
