"""The outbox: what the device has to say, kept on flash until the broker has it.

Owns two lanes (`node.core.lane`): events, which go first and have segments of their own, and
telemetry. Nothing acknowledged is lost and nothing damaged is sent; what a power cut can take is
what has not been flushed, at most `buffer_bytes` and `flush_ms` of it.

A full lane gives way by its policy, and says how much: `drop` loses the oldest segment, `thin`
keeps every `keep`-th sample of the oldest segments (`node.core.thin`) and drops only when there
is nothing left to thin. `taken = delivered + dropped + queued` at all times; the head, with its
counters, is persisted when a segment is finished, every `save_every` acknowledgements, and on
`save()`. After a power cut at most that many records are sent twice; ingest drops them by (boot,
seq).
"""

import binascii

from loader import cbor
from micropython import const
from node.core.lane import Cache, Lane

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EVENT = const(1)
TELEMETRY = const(0)
_ENOSPC = const(28)
_EIO = const(5)
_TOKEN_FIRST = const(0x4000)  # tokens of this source: other sources of a connection stay below
_TOKEN_LAST = const(0x7FFF)
_STATE_VERSION = const(1)


class OutboxConfig:
    """Bounds and policy. A segment is at most one erase block of the filesystem."""

    def __init__(self, folder: str = "/data/outbox") -> None:
        self.folder = folder
        self.segment_bytes = 4096
        self.buffer_bytes = 4096
        self.segments = 48
        self.event_bytes = 1024
        self.event_segments = 8
        self.flush_ms = 300000
        self.event_flush_ms = 2000
        self.save_every = 64
        self.policy = "drop"
        self.keep = 2


class Outbox:
    """`storage` is the port of hal/storage.py; `seal` an `at_rest.Seal`, or None."""

    def __init__(self, storage: "Any", config: OutboxConfig, seal: "Any" = None) -> None:
        self._storage = storage
        self._config = config
        self._seal = seal
        folder = config.folder
        cache = Cache(max(config.buffer_bytes, config.event_bytes))
        sizes = (config.segment_bytes, config.buffer_bytes)
        self._telemetry = Lane(storage, folder, "t", sizes, cache)
        sizes = (config.event_bytes, config.event_bytes)
        self._events = Lane(storage, folder, "e", sizes, cache)
        self._lanes = (self._telemetry, self._events)
        self._since_ms = [-1, -1]  # when the oldest unflushed record of a lane came
        self._token = _TOKEN_FIRST
        self._unsaved = 0
        self.refused = 0
        self.thinned = 0
        self.errors = 0

    # --- counters, in samples (an event counts as one)

    @property
    def depth(self) -> int:
        return self._telemetry.queued + self._events.queued

    @property
    def delivered(self) -> int:
        return self._telemetry.delivered + self._events.delivered

    @property
    def dropped(self) -> int:
        return self._telemetry.dropped + self._events.dropped + self.refused

    @property
    def taken(self) -> int:
        return self.delivered + self.dropped + self.depth

    @property
    def unflushed(self) -> int:
        return self._telemetry.unflushed + self._events.unflushed

    @property
    def damaged(self) -> int:
        return self._telemetry.damaged + self._events.damaged

    def fullness(self) -> int:
        """Permille of the room for telemetry that is in use, by segments on flash."""
        used = 1000 * len(self._telemetry.segments) // self._config.segments
        return min(1000, used)

    # --- life

    def open(self) -> None:
        """Find the queue again after a boot. Its cost does not depend on the backlog."""
        states = self._read_state()
        for index in range(2):
            self._lanes[index].open(states[index])

    def append(
        self, payload: "Any", samples: int = 1, kind: int = TELEMETRY, now_ms: int = 0
    ) -> bool:
        """Take a record; False when it could not be kept (then it is counted as dropped)."""
        lane = self._lanes[kind]
        if self._seal is not None:
            payload = self._seal.seal(payload)
        if not lane.fits(len(payload)) or not self._make_room(lane, len(payload)):
            self.refused += samples
            return False
        lane.append(payload, samples, kind)
        if self._since_ms[kind] < 0:
            self._since_ms[kind] = now_ms
        return True

    def tick(self, now_ms: int) -> int:
        """Flush what is due; when to be called next (ms), or -1: nothing waits."""
        due_ms = -1
        for kind in range(2):
            if self._since_ms[kind] < 0:
                continue
            if not self._lanes[kind].unflushed:
                self._since_ms[kind] = -1
                continue
            wait_ms = self._config.event_flush_ms if kind else self._config.flush_ms
            at_ms = self._since_ms[kind] + wait_ms
            if at_ms <= now_ms:
                if self._flush(self._lanes[kind]):
                    continue
                at_ms = now_ms + wait_ms
            due_ms = at_ms if due_ms < 0 else min(due_ms, at_ms)
        return due_ms

    def flush(self) -> bool:
        """Everything in RAM to flash, before a reset or a sleep. False: flash takes nothing."""
        done = [self._flush(lane) for lane in self._lanes]
        return all(done)

    def save(self) -> None:
        """Persist the head: fewer records are sent twice after a power cut."""
        if self._unsaved:
            self._save()

    # --- sending

    def next(self) -> "tuple[int, int, Any] | None":
        """The next record to send, events first: (token, kind, payload), or None.

        The payload may be a view that holds only until the next call.
        """
        for kind in (EVENT, TELEMETRY):
            found = self._lanes[kind].next(self._token)
            while found is not None:
                token = self._token
                self._token = _TOKEN_FIRST if token == _TOKEN_LAST else token + 1
                payload = found[0] if self._seal is None else self._seal.open(found[0])
                if payload is not None:
                    return token, kind, payload
                self._give_up(self._lanes[kind], token)
                found = self._lanes[kind].next(self._token)
        return None

    def _give_up(self, lane: Lane, token: int) -> None:
        """A record sealed with another key is of no use to anybody: dropped, not delivered."""
        before = lane.delivered
        self.acked(token)
        lost = lane.delivered - before
        lane.delivered -= lost
        lane.given_up += lost
        lane.damaged += lost

    def acked(self, token: int) -> bool:
        """The broker has the record of `token`; False when the token is not one of ours."""
        for lane in self._lanes:
            if lane.acked(token):
                self._unsaved += 1
                if lane.settle() or self._unsaved >= self._config.save_every:
                    self._save()
                return True
        return False

    def rewind(self) -> None:
        """The session is lost: everything unacknowledged will be handed out again."""
        for lane in self._lanes:
            lane.rewind()

    # --- making room

    def _make_room(self, lane: Lane, size: int) -> bool:
        if lane.room(size):
            return True
        if not self._flush(lane):
            return False
        if not lane.room(size):
            lane.roll()
            most = self._config.event_segments if lane is self._events else self._config.segments
            while len(lane.segments) >= most:
                self._give_way(lane)
        return lane.room(size)

    def _flush(self, lane: Lane) -> bool:
        """Write a lane's buffer; on a full filesystem the policy makes room for it."""
        for _ in range(4):
            try:
                if lane.flush():
                    self._since_ms[self._lanes.index(lane)] = -1
                return True
            except OSError as error:
                self.errors += 1
                if error.errno != _ENOSPC or not self._telemetry.segments:
                    return False
                self._give_way(self._telemetry)
        return False

    def _give_way(self, lane: Lane) -> None:
        if lane is self._telemetry and self._config.policy == "thin" and self._thin(lane):
            return
        lane.drop_oldest()
        self._save()

    def _thin(self, lane: Lane) -> bool:
        from node.core import thin  # shipped only with a product that asks for this policy

        try:
            lost = thin.thin(lane, self._config.keep, self._seal)
        except (OSError, MemoryError):  # no room for the thinned segment: the old ones are whole
            self.errors += 1
            return False
        self.thinned += lost
        return lost > 0

    # --- the head on flash

    @property
    def _state_path(self) -> str:
        return self._config.folder + "/state"

    def _save(self) -> None:
        done = self._write_state()
        if done == 0:
            self._sweep()
        elif done == _ENOSPC and self._sweep():
            # No room even for the state: a segment had to go first. A cut in between costs the
            # accounts that segment, never the queue.
            self._write_state()

    def _write_state(self) -> int:
        """0, or the errno with which the filesystem refused it."""
        body = cbor.encode([_STATE_VERSION, self._telemetry.state(), self._events.state()])
        crc = binascii.crc32(body) & 0xFFFFFFFF
        try:
            self._storage.write_atomic(self._state_path, body + crc.to_bytes(4, "big"))
        except OSError as error:
            self.errors += 1
            return error.errno or _EIO
        self._unsaved = 0
        return 0

    def _sweep(self) -> bool:
        try:
            return self._telemetry.sweep() | self._events.sweep()
        except OSError:
            self.errors += 1
            return False

    def _read_state(self) -> "list[list[int] | None]":
        data = self._storage.read(self._state_path)
        if not data or len(data) < 5:
            return [None, None]
        if binascii.crc32(data[:-4]) & 0xFFFFFFFF != int.from_bytes(data[-4:], "big"):
            return [None, None]
        try:
            document = cbor.decode(data[:-4])
        except cbor.VerifyError:
            return [None, None]
        if not isinstance(document, list) or document[:1] != [_STATE_VERSION]:
            return [None, None]
        return document[1:3]
