"""Commands: parse, refuse, run at most once.

Owns the rules a command must pass before anything runs, and the memory of which ids have run.
The id is persisted *before* the command runs and its outcome after, so a power cut in between
leaves `started`: the command is then never run again, and a redelivery is answered
`interrupted`. That is what at-most-once means; at-least-once is the sender's retry with a new id.

Wire form (CBOR map): id (text, 1..40), cmd (text, 1..24), args (map, optional), exp (Unix s,
optional), boot and up (optional: valid only in that boot, until that uptime in s), ops (bytes,
optional: a signed `ops` document, required for the destructive ones).
"""

from loader import cbor
from loader.cbor import VerifyError
from micropython import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_BYTES = const(4096)
_MAX_ID = const(40)
_MAX_VERB = const(24)
_REMEMBERED = const(32)
_BURST = const(10)
_REFILL_MS = const(6000)

STARTED = "started"


class Refused(Exception):
    """A command that will not run. `code` is stable; `id` is None when it could not be read."""

    def __init__(self, code: str, command_id: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.id = command_id


class Command:
    """A command that may run."""

    def __init__(self, fields: "dict[str, Any]") -> None:
        self.id: str = fields["id"]
        self.verb: str = fields["cmd"]
        self.args: "dict[str, Any]" = fields.get("args", {})
        self.exp: int | None = fields.get("exp")
        self.boot: int | None = fields.get("boot")
        self.up_s: int | None = fields.get("up")
        self.ops: bytes | None = fields.get("ops")  # not verified


_SHAPES = (
    ("id", str, True),
    ("cmd", str, True),
    ("args", dict, False),
    ("exp", int, False),
    ("boot", int, False),
    ("up", int, False),
    ("ops", bytes, False),
)


def parse(payload: "Any") -> Command:
    """Read a command. Raises Refused: `too_long`, `malformed`, `bad_id`, `bad_command`."""
    if len(payload) > MAX_BYTES:
        raise Refused("too_long")
    try:
        fields = cbor.decode(bytes(payload))
    except VerifyError:
        raise Refused("malformed")
    if not isinstance(fields, dict):
        raise Refused("malformed")
    for key, kind, needed in _SHAPES:
        value = fields.get(key)
        if (value is None and needed) or (value is not None and not isinstance(value, kind)):
            raise Refused("malformed", _safe_id(fields))
    if not 0 < len(fields["id"]) <= _MAX_ID:
        raise Refused("bad_id")
    if not 0 < len(fields["cmd"]) <= _MAX_VERB:
        raise Refused("bad_command", fields["id"])
    return Command(fields)


def _safe_id(fields: "dict[str, Any]") -> str | None:
    value = fields.get("id")
    return value if isinstance(value, str) and 0 < len(value) <= _MAX_ID else None


class Gate:
    """Admits commands. `storage` keeps the ids at `path`; `boot` is this boot's number."""

    def __init__(self, storage: "Any", path: str, boot: int) -> None:
        self._storage = storage
        self._path = path
        self._boot = boot
        self._seen: "list[Any]" = self._load()
        self._tokens = _BURST
        self._refilled_ms = 0
        self.refused = 0

    def admit(self, command: Command, unix_s: int | None, up_ms: int) -> None:
        """Pass `command` and remember its id, or raise Refused.

        Codes: `duplicate` (`.outcome` in `outcome()`), `interrupted`, `expired`,
        `clock_unknown` (it has an expiry and the device does not know the time), `rate`.
        """
        try:
            self._check(command, unix_s, up_ms)
        except Refused:
            self.refused += 1
            raise
        self._remember(command.id, STARTED)

    def outcome(self, command_id: str) -> str | None:
        """What became of a command: an answer code, `started`, or None if not known."""
        for seen_id, outcome in self._seen:
            if seen_id == command_id:
                return str(outcome)
        return None

    def finished(self, command_id: str, code: str) -> None:
        """Persist the outcome of a command that was admitted."""
        self._remember(command_id, code[:_MAX_VERB])

    def rows(self) -> "list[Any]":
        """(id, outcome) of the commands that are remembered, oldest first."""
        return list(self._seen)

    def memory(self) -> "tuple[Any, ...]":
        """What the next gate of this boot must know, for `recall`; the ids are on flash."""
        return self._tokens, self._refilled_ms, self.refused

    def recall(self, memory: "tuple[Any, ...]") -> None:
        self._tokens, self._refilled_ms, self.refused = memory

    def _check(self, command: Command, unix_s: int | None, up_ms: int) -> None:
        outcome = self.outcome(command.id)
        if outcome == STARTED:
            raise Refused("interrupted", command.id)
        if outcome is not None:
            raise Refused("duplicate", command.id)
        if command.boot is not None and command.boot != self._boot:
            raise Refused("expired", command.id)
        if command.up_s is not None and up_ms > command.up_s * 1000:
            raise Refused("expired", command.id)
        if command.exp is not None:
            if unix_s is None:
                raise Refused("clock_unknown", command.id)
            if unix_s > command.exp:
                raise Refused("expired", command.id)
        if not self._take_token(up_ms):
            raise Refused("rate", command.id)

    def _take_token(self, up_ms: int) -> bool:
        earned = (up_ms - self._refilled_ms) // _REFILL_MS
        if earned > 0:
            self._tokens = min(_BURST, self._tokens + earned)
            self._refilled_ms += earned * _REFILL_MS
        if self._tokens <= 0:
            return False
        self._tokens -= 1
        return True

    def _remember(self, command_id: str, outcome: str) -> None:
        rows = [row for row in self._seen if row[0] != command_id]
        rows = (rows + [[command_id, outcome]])[-_REMEMBERED:]
        self._storage.write_atomic(self._path, cbor.encode(rows))
        self._seen = rows  # after it is on flash: what could not be written may be tried again

    def _load(self) -> "list[Any]":
        data = self._storage.read(self._path)
        if data is None:
            return []
        try:
            rows = cbor.decode(data)
        except VerifyError:
            return []
        if not isinstance(rows, list):
            return []
        return [row for row in rows if _is_row(row)][-_REMEMBERED:]


def _is_row(row: object) -> bool:
    return (
        isinstance(row, list)
        and len(row) == 2
        and isinstance(row[0], str)
        and isinstance(row[1], str)
    )
