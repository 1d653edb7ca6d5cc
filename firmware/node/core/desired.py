"""Desired state: versioned settings from the fleet, bounded, applied in part, undone when bad.

Owns the settings in force and the ones before them. A document is `{"v": n, "set": {name:
value}}`. Each setting is checked on its own: the good ones are applied, the others reported by
name with a reason, so that one typing error does not hold up the rest. Versions never go back.

A new set is on probation until the node has been connected with it for a while (`proven`). A node
that restarts with a fault while the set is on probation counts it; at `_MAX_FAULTS` the set before
it is restored and its version is remembered as bad.

Settings belong to the device, not to a release: an update keeps them, and a setting a release does
not know is kept for the next. But a set that was accepted while a release was on trial may be why
the release failed, or be meant for it only: it goes when the release goes, and its version is bad.
"""

from loader import cbor
from loader.cbor import VerifyError
from micropython import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MAX_BYTES = const(2048)
_MAX_SETTINGS = const(32)
_MAX_NAME = const(32)
_MAX_FAULTS = const(2)

# name -> (lowest, highest); every setting of the node is an integer, so that it has bounds.
NODE_SETTINGS = {
    "sample_s": (1, 86400),
    "publish_s": (1, 86400),
    "heartbeat_s": (10, 86400),
    "update.check_s": (30, 7 * 86400),
    "power.connect_every": (1, 1000),
    "log.level": (0, 3),
}


class DesiredState:
    """`schema` maps a setting to its bounds; `storage` keeps the state at `path`."""

    def __init__(
        self, storage: "Any", path: str, schema: "dict[str, Any]" = NODE_SETTINGS
    ) -> None:
        self._storage = storage
        self._path = path
        self._schema = schema
        self.version = 0
        self.settings: "dict[str, Any]" = {}  # those this release knows, in bounds
        self.rejected: "dict[str, Any]" = {}
        self.seen = 0  # the version looked at last, and what became of it
        self.code = ""
        self._kept: "dict[str, Any]" = {}  # all that were in bounds when they came
        self._before: "list[Any]" = [0, {}]
        self._bad = 0
        self._probation = False
        self._faults = 0
        self._trial = b""
        self.rolled_back = False
        self._load()

    def get(self, name: str, default: int) -> int:
        return int(self.settings.get(name, default))

    def started(self, fault: bool, trial: bytes = b"", failed: "Any" = None) -> None:
        """Tell of a start.

        `fault`: a watchdog, an exception or a panic ended the run before. `trial`: digest of the
        release that is on trial now, empty when none is; `failed(digest)` tells whether a trial of
        that release has failed.
        """
        if self._trial and self._trial != trial:
            if failed is not None and failed(self._trial):
                self._go_back()
            self._trial = b""
            self._save()
        if not (self._probation and fault):
            return
        self._faults += 1
        if self._faults >= _MAX_FAULTS:
            self._go_back()
        self._save()

    def _go_back(self) -> None:
        self._bad = self.seen = self.version
        self.version, self._kept = self._before
        self.settings = self._check(self._kept)[0]
        self.rejected = {}
        self._probation = False
        self.code = "rolled_back"
        self.rolled_back = True

    @property
    def proving(self) -> bool:
        """The settings in force are on probation."""
        return self._probation

    def proven(self) -> None:
        """The node has been connected with these settings: they stay."""
        if self._probation:
            self._probation = False
            self._faults = 0
            self._save()

    def apply(self, payload: "Any", trial: bytes = b"") -> str:
        """Take a document: `applied`, `partly`, `rejected`, `current`, `stale` or `bad`; see
        `rejected`.

        Raises VerifyError when it is not a document at all.
        """
        version, wanted = _parse(payload)
        if version and version == self._bad:
            return "bad"
        if version <= self.version:
            return "current" if version == self.version else "stale"
        good, self.rejected = self._check(wanted)
        self.seen = version
        self.code = "applied"
        if self.rejected:
            self.code = "partly" if good else "rejected"
        if self.code != "rejected":
            self._take(version, good, trial)
        return self.code

    def _take(self, version: int, good: "dict[str, Any]", trial: bytes) -> None:
        if not trial or trial != self._trial:  # else: what was before the trial is kept
            self._before = [self.version, self._kept]
        self._trial = trial
        self.version = version
        self.settings = self._kept = good
        self._probation = True
        self._faults = 0
        self.rolled_back = False
        self._save()

    def report(self) -> "dict[str, Any]":
        """What `up/state` says of it."""
        return {
            "v": self.version,
            "set": self.settings,
            "seen": self.seen,
            "code": self.code,
            "rejected": self.rejected,
        }

    def _check(self, wanted: "dict[str, Any]") -> "tuple[Any, ...]":
        good: "dict[str, Any]" = {}
        rejected: "dict[str, Any]" = {}
        for name, value in wanted.items():
            code = self._refusal(name, value)
            if code:
                rejected[name] = code
            else:
                good[name] = value
        return good, rejected

    def _refusal(self, name: str, value: object) -> str:
        bounds = self._schema.get(name)
        if bounds is None:
            return "unknown"
        if not isinstance(value, int) or isinstance(value, bool):
            return "type"
        return "" if bounds[0] <= value <= bounds[1] else "bounds"

    def _save(self) -> None:
        row = [
            self.version,
            self._kept,
            self._before,
            self._bad,
            self._probation,
            self._faults,
            self._trial,
            self.rejected,
            self.seen,
            self.code,
        ]
        self._storage.write_atomic(self._path, cbor.encode(row))

    def _load(self) -> None:
        data = self._storage.read(self._path)
        if data is None:
            return
        try:
            row = cbor.decode(data)
        except VerifyError:
            return
        if not isinstance(row, list) or [type(part) for part in row] != _ROW:
            return
        self.version, self._kept, self._before, self._bad, self._probation = row[:5]
        self._faults, self._trial, self.rejected, self.seen, self.code = row[5:]
        # The schema of this release decides what of the stored settings is in force.
        self.settings = self._check(self._kept)[0]


_ROW = [int, dict, list, int, bool, int, bytes, dict, int, str]


def _parse(payload: "Any") -> "tuple[Any, ...]":
    if len(payload) > _MAX_BYTES:
        raise VerifyError("doc-size")
    fields = cbor.check(cbor.decode(bytes(payload)), "v int set dict")
    wanted = fields["set"]
    if fields["v"] < 1 or len(wanted) > _MAX_SETTINGS:
        raise VerifyError("field")
    for name in wanted:
        if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME:
            raise VerifyError("field")
    return fields["v"], wanted
