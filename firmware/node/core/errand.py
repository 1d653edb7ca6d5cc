"""What one boot tells the next about updates: that one is due, and how it went.

An update runs in a boot of its own (`node.updating`), with the whole heap to itself, and has no
connection to the broker; what it has to say is kept here until a boot that has one. Kept in one
small file, written whole.

Invariants: an errand is sent once (`begin` takes it back before anything can go wrong, so a device
cannot be caught in a loop of them); errands that fail are further and further apart, counted on
flash because each ends by a reset; what is told is bounded.
"""

from loader import cbor
from micropython import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PATH = "/data/update.cbor"
_MAX_TOLD = const(12)
_FIRST_WAIT_S = const(300)
_MAX_WAIT_S = const(86400)


class Errand:
    """`storage` as in hal.storage.

    due      a boot of its own is wanted
    unix_s   the time when it was sent, 0 when it was not known
    tries    errands in a row that came to nothing
    settled  digest of a release that was refused: nobody need ask again before a power-on
    told     bodies of `update` events that the fleet has not had yet, oldest first
    """

    def __init__(self, storage: "Any", path: str = PATH) -> None:
        self._storage = storage
        self._path = path
        found = _map(storage.read(path))
        self.due = found.get("go") is True
        self.unix_s: int = _typed(found, "unix", 0)
        self.tries: int = max(0, _typed(found, "tries", 0))
        self.settled: bytes = _typed(found, "settled", b"")
        told = _typed(found, "told", [])
        self.told: "list[Any]" = [body for body in told if isinstance(body, dict)][-_MAX_TOLD:]

    def send(self, unix_s: "int | None") -> None:
        """Before a reset: the next boot is for the update."""
        self.due = True
        self.unix_s = unix_s or 0
        self._save()

    def begin(self) -> None:
        """First thing of that boot. It counts as in vain until it has ended well."""
        self.due = False
        self.tries += 1
        self._save()

    def tell(self, body: "dict[str, Any]") -> None:
        """Keep the body of an event for the fleet."""
        self.told = (self.told + [body])[-_MAX_TOLD:]
        self._save()

    def succeeded(self) -> None:
        """There was nothing new, or it is about to be tried."""
        self.tries = 0
        self.settled = b""
        self._save()

    def refused(self, digest: bytes) -> None:
        """This release will be refused again, so it is left alone."""
        self.tries = 0
        self.settled = digest
        self._save()

    def all_told(self) -> None:
        """The fleet has had what was told."""
        self.told = []
        self._save()

    def powered_on(self) -> None:
        """Somebody was here: what was refused may fit now, what came to nothing may have been cut
        short.
        """
        if self.settled or self.tries:
            self.settled = b""
            self.tries = 0
            self._save()

    def wait_s(self) -> int:
        """How long to leave the server alone, for the sake of what came to nothing; 0: not."""
        return min(_FIRST_WAIT_S << min(self.tries - 1, 9), _MAX_WAIT_S) if self.tries else 0

    def _save(self) -> None:
        fields = {
            "go": self.due,
            "unix": self.unix_s,
            "tries": self.tries,
            "settled": self.settled,
            "told": self.told,
        }
        self._storage.write_atomic(self._path, cbor.encode(fields))


def _map(data: "bytes | None") -> "Any":
    try:
        found = cbor.decode(data) if data else {}
    except cbor.VerifyError:
        return {}
    return found if isinstance(found, dict) else {}


def _typed(found: "dict[str, Any]", name: str, default: "Any") -> "Any":
    value = found.get(name)
    return value if type(value) is type(default) else default
