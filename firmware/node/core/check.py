"""Whether there is a new release: a sans-I/O machine, as a generator.

    for action in Check(boot, config, report).run(now_s): ...

`action` is a Fetch, to be carried out before the next step (its results written into it), or a
number of milliseconds to wait (0: let others run). `outcome` and `code` then say how it ended. See
`tasks.download` for a driver. `core.update.Update` is a Check that goes on and installs.

The head says which release (its sequence is remembered at once); trust roots are followed as far
as it needs them.

Outcomes: CURRENT (nothing new), NEW (a release that is not the running one, of a Check),
WAITING (offered; `code` is the condition that is not met), REBOOT (reset now), REFUSED (`code` is
a layout reason or one below: trying again gives the same), FAILED (`code`: try again later). Codes
besides layout's and http's: root-missing (the head needs a trust root that the server does not
have), blob-data, blob-size, blob-hash (what the server has under this name is something else),
captive (HTML instead of a document), http-NNN (the status), http-redirects (too many), link (no
connection), storage-full, storage, memory, runtime-hash, runtime-boot (the bootloader refuses the
image), runtime-failed (it never lived long enough to be marked valid).
"""

from loader import layout
from loader.cbor import VerifyError
from micropython import const
from node.core.fetch import BLOCK, Fetch
from node.core.url import HttpError, join_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Generator

    Steps = Generator[Any, None, Any]

# Outcomes
CURRENT = "current"
NEW = "new"
WAITING = "waiting"
REBOOT = "reboot"
REFUSED = "refused"
FAILED = "failed"

# An action: nothing will be verified for a while, the loader's code for that may leave the heap.
FORGET = const(-1)

_MAX_REDIRECTS = const(3)
_MAX_TRIES = const(5)  # in a row without a byte of progress
_MAX_ROOTS = const(32)  # trust roots followed in one check
_PAUSE_MS = const(1000)
_PAUSE_CAP_MS = const(30000)
ENOSPC = const(28)
_ROOT_MAY_HELP = ("signer", "signature", "threshold")
_HOPELESS = ("http-body", "http-range", "http-syntax", "http-header", "http-url")


class Config:
    """`base_url` of the update repository, `head` name; `allowed(release)` gives "" or the
    condition that is not met; `spare()` the pair of runtime partitions (see core.image), or None.
    """

    def __init__(
        self, base_url: str, head: str, allowed: "Callable[[Any], str] | None" = None
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.head = head
        self.allowed = allowed
        self.spare: "Callable[[], Any] | None" = None


class Check:
    """One device's question for updates; `run` may be used again and again. `report(state,
    release digest, code)` is told each step.
    """

    def __init__(
        self, boot: "Any", config: Config, report: "Callable[..., None] | None" = None
    ) -> None:
        self._boot = boot
        self._config = config
        self.base_url = config.base_url
        self._report = report
        self._etag = ""
        self._release = b""  # being dealt with
        self._settled = b""  # the release for which the answer will not change until the next boot
        self.outcome = ""
        self.code = ""
        self.frozen = False  # the head had expired: somebody or something keeps newer ones away
        self.fetched = 0  # bytes of bodies, all told
        self.blobs = 0  # blobs downloaded

    def memory(self) -> "tuple[str, bytes]":
        """What makes the next check short, for `recall` of another instance in this boot."""
        return self._etag, self._settled

    def recall(self, memory: "tuple[str, bytes]") -> None:
        self._etag, self._settled = memory

    @property
    def release(self) -> bytes:
        """Digest of the release that the last run was about; empty: of none."""
        return self._release

    # --- the whole of it

    def run(self, now_s: "int | None" = None) -> "Steps":
        """One check. Never raises for the server's, the link's or the flash's sake."""
        self.outcome, self.code = CURRENT, ""
        try:
            yield from self._check(now_s)
        except VerifyError as error:
            if error.code[:5] != "blob-" and error.code != "trial-running":
                self._settled = self._release  # said once: nothing of this changes before a reset
            self._end(REFUSED, error.code)
        except HttpError as error:
            self._end(FAILED, error.code)
        except MemoryError:
            self._no_memory()
            self._end(FAILED, "memory")
        except OSError as error:
            if error.args[0] != ENOSPC:
                self._end(FAILED, "storage")
                return
            self._end(FAILED, "storage-full")
            self._no_room()

    def _end(self, outcome: str, code: str) -> None:
        self.outcome, self.code = outcome, code
        self._tell(outcome, self._release, code)
        self._etag = ""

    def _tell(self, state: str, digest: bytes, code: str = "") -> None:
        if self._report is not None:
            self._report(state, digest, code)

    def _check(self, now_s: "int | None") -> "Steps":
        self._release = b""
        head = yield from self._head(now_s)
        if head is None:
            return
        digest = head["release"]
        if digest == self._boot.digest or digest == self._settled:
            return
        self._release = digest
        self._etag = ""
        if self._boot.trial:
            raise VerifyError("trial-running")
        if self._boot.failed(digest):
            raise VerifyError("failed-before")
        yield from self._found(digest)

    def _found(self, digest: bytes) -> "Steps":
        """There is another release: say so, unless a condition is not met."""
        self.code = self._config.allowed({}) if self._config.allowed else ""
        self.outcome = WAITING if self.code else NEW
        if self.code:
            self._tell("offered", digest, self.code)
        yield 0

    def _no_room(self) -> None:
        """The flash is full."""

    def _no_memory(self) -> None:
        """The heap is."""

    # --- documents

    def _head(self, now_s: "int | None") -> "Steps":
        """The verified head, after following the trust root as far as needed; None when it has not
        changed.
        """
        fetch = Fetch(0, -1, layout.MAX_DOCUMENT_BYTES)
        fetch.if_etag = self._etag
        doc = yield from self._get("/heads/" + self._config.head + ".cose", fetch)
        if fetch.status == 304:
            return None
        for _ in range(_MAX_ROOTS):
            try:
                head = self._boot.accept_head(doc, self._config.head, now_s)
            except VerifyError as error:
                if error.code not in _ROOT_MAY_HELP or not (yield from self._next_root()):
                    raise
                continue
            self.frozen = head["frozen"]
            if head["root"] <= self._boot.root["version"]:
                self._etag = fetch.etag
                return head
            # read again under the newer root: it may have revoked the key that signed this head
            if not (yield from self._next_root()):
                break
        raise VerifyError("root-missing")

    def _next_root(self) -> "Steps":
        """Follow the trust root by one version; False when the server has no newer one."""
        number = self._boot.root["version"] + 1
        try:
            doc = yield from self._get(
                "/roots/%d.cose" % number, Fetch(0, -1, layout.MAX_DOCUMENT_BYTES)
            )
        except HttpError as error:
            if error.code == "http-404":
                return False
            raise
        self._boot.accept_root(doc)
        return True

    def _get(self, path: str, fetch: Fetch) -> "Steps":
        """A small document, in memory."""
        doc = bytearray()
        fetch.sink = doc.extend
        yield from self._pull(path, fetch)
        return doc

    # --- HTTP

    def _pull(self, path: str, fetch: Fetch) -> "Steps":
        """Fetch `path` from `fetch.start` to its end, in ranges where `fetch` asks for one, over
        redirects and bad links.
        """
        origin = self._config.base_url + path
        fetch.url = origin
        redirects = tries = 0
        left = 16 + 8 * (fetch.limit // BLOCK)  # requests: byte by byte is no way to answer
        while True:
            yield fetch
            left -= 1
            self.fetched += fetch.received
            if fetch.received:
                tries = redirects = 0
            fetch.start += fetch.received
            if 301 <= fetch.status <= 308 and fetch.status != 304:
                redirects += 1
                if redirects > _MAX_REDIRECTS:
                    raise HttpError("http-redirects")
                fetch.url = join_url(fetch.url, fetch.location)
            elif _finished(fetch):
                return
            elif fetch.code or fetch.status >= 500 or fetch.status == 429:
                tries += 1
                if tries > _MAX_TRIES:
                    raise HttpError(fetch.code or "http-%d" % fetch.status)
                fetch.url = origin  # what a redirect names may be short-lived
                yield min(_PAUSE_MS << tries, _PAUSE_CAP_MS)
            if left <= 0:
                raise HttpError("http-slow")
            fetch.reset()
            if fetch.end >= 0:
                fetch.end = fetch.start - fetch.start % BLOCK + BLOCK


def _finished(fetch: Fetch) -> bool:
    """Whether all of it is there. Raises HttpError for an answer that will not get better."""
    status = fetch.status
    if fetch.html and status in (200, 206):
        raise HttpError("captive")
    if fetch.code in _HOPELESS:
        raise HttpError(fetch.code)
    if fetch.code or status >= 500 or status == 429:
        return False
    if status == 416 and fetch.total == fetch.start:
        return True  # the cut came between the last byte and the use of it
    if status == 304 and fetch.if_etag:
        return True
    if status == 206:
        return fetch.start == fetch.total
    if status != 200:
        raise HttpError("http-%d" % status)
    return True
