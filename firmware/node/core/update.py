"""The update: from asking whether there is one to the reset that tries it. A sans-I/O machine, as
a generator.

    for action in Update(boot, files, config, report).run(now_s): ...

`action` is a Fetch, to be carried out before the next step (its results written into it), a number
of milliseconds to wait (0: let others run), or FORGET. `outcome` and `code` then say how it
ended. See `tasks.update` for a driver.

Order, and why: the head says which release (its sequence is remembered at once); the release
document is verified and compared with the board before the staging slot is touched; the conditions
are asked before anything is spent; what the flash already holds is never downloaded;
`Boot.activate` verifies the whole slot as it will be executed, writes the manifest and begins the
trial, in one rename. Every byte of progress is on flash in `staging`, so a cut anywhere needs no
repair: the next run finds what there is. A download asks for at most BLOCK bytes at a time, which
bounds what a dead link can have in flight, and so what is ever fetched twice.

Outcomes: CURRENT (nothing new), WAITING (offered; `code` is the condition that is not met), REBOOT
(reset now), REFUSED (`code` is a layout reason or one below: trying again gives the same), FAILED
(`code`: try again later). Codes besides layout's and http's: root-missing (the head needs a trust
root that the server does not have), blob-data, blob-size, blob-hash (what the server has under
this name is something else), captive (HTML instead of a document), http-NNN (the status),
http-redirects (too many), link (no connection), storage-full, storage, memory, runtime-hash,
runtime-boot (the bootloader refuses the image), runtime-failed (it never lived long enough to be
marked valid).
"""

from binascii import hexlify

from loader import layout
from loader.cbor import VerifyError
from micropython import const
from node.core.fetch import Fetch
from node.core.filetable import FileTable
from node.core.staging import BLOCK, Staging, clear, kept_document
from node.core.url import HttpError, join_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Generator

    Steps = Generator[Any, None, Any]

# Outcomes
CURRENT = "current"
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
_ENOSPC = const(28)
_ROOT_MAY_HELP = ("signer", "signature", "threshold")


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


class Update:
    """One device's updater; `run` may be used again and again. `report(state, release digest,
    code)` is told each step.
    """

    def __init__(
        self,
        boot: "Any",
        files: "Any",
        config: Config,
        report: "Callable[..., None] | None" = None,
    ) -> None:
        self._boot = boot
        self._files = files
        self._config = config
        self.base_url = config.base_url
        self._report = report
        self._etag = ""
        self._release = b""  # being dealt with
        self._staging: "Any" = None
        self._runtime: "Any" = None  # the release's, when it is not the one that runs
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

    # --- the whole of it

    def run(self, now_s: "int | None" = None) -> "Steps":
        """One check and, where it says so, one update. Never raises for the server's, the link's
        or the flash's sake.
        """
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
            self._staging = None
            self._end(FAILED, "memory")
        except OSError as error:
            if error.args[0] != _ENOSPC:
                self._end(FAILED, "storage")
                return
            self._end(FAILED, "storage-full")
            clear(self._files, self._boot.staging)

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
        if (yield from self._offer(digest)):
            yield FORGET
            yield from self._fill()
            spare = yield from self._fill_runtime(digest)
            yield from self._activate(digest, spare)

    def _offer(self, digest: bytes) -> "Steps":
        """Verify the release, and prepare the slot for it unless a condition is not met."""
        doc = yield from self._document(digest)
        release = self._boot.accept_release(doc, digest)
        self._tell("offered", digest)
        self.code = self._config.allowed(release) if self._config.allowed else ""
        if self.code:
            self.outcome = WAITING
            self._tell("offered", digest, self.code)
            return False
        runtime = release.get("runtime")
        other = runtime and runtime["build"] != self._boot.device["build"]
        self._runtime = runtime if other else None
        wanted = FileTable(release.pop("files"))
        self._staging = Staging(self._files, self._boot.staging, self._boot.slot, wanted)
        self._staging.begin(doc)
        # a generator that has ended keeps what its variables name for as long as a stale pointer
        # to it lies on somebody's stack
        doc = release = wanted = None  # type: ignore[assignment]
        self._tell("downloading", digest)
        return True

    def _fill(self) -> "Steps":
        """Bring every file of the release to the slot; `_staging` is gone afterwards."""
        staging = self._staging
        yield from staging.survey()
        yield from staging.copy()
        if staging.missing_bytes() > self._files.free(self._boot.staging):
            raise OSError(_ENOSPC)  # before it is all downloaded in vain
        index = staging.missing()
        while index >= 0:
            yield from self._blob(staging, index)
            index = staging.missing()
        self._staging = None

    def _fill_runtime(self, digest: bytes) -> "Steps":
        """Bring the runtime to the spare partition, when the release has one that does not run."""
        if self._runtime is None:
            return None
        from node.core.image import Image, count_attempt

        spare = self._config.spare() if self._config.spare else None
        if spare is None:
            raise VerifyError("runtime-none")
        table = self._boot.staging + "/" + self._runtime["chunks"]
        yield from Image(spare, self._files, table, self._runtime).fill(self._chunk)
        count_attempt(self._boot.base, digest)
        return spare

    def _chunk(self, digest: bytes, limit: int) -> "Steps":
        fetch = Fetch(0, -1, limit)
        blob = yield from self._get(_name("/blobs/%s", digest), fetch)
        self.blobs += 1
        return blob

    def _activate(self, digest: bytes, spare: "Any") -> "Steps":
        boot = self._boot
        self._tell("verifying", digest)
        yield 0
        # from flash, where it was put to free its memory: the loader verifies these very bytes
        boot.activate(kept_document(self._files, boot.staging), digest)
        self._tell("installing", digest)
        if spare is not None:
            try:
                spare.switch()
            except OSError:  # the bootloader has looked at the image and does not want it
                raise VerifyError("runtime-boot")
        boot.plan_reset("update")
        self.outcome = REBOOT
        self._tell("rebooting", digest)

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
                "/root/%d.cose" % number, Fetch(0, -1, layout.MAX_DOCUMENT_BYTES)
            )
        except HttpError as error:
            if error.code == "http-404":
                return False
            raise
        self._boot.accept_root(doc)
        return True

    def _document(self, digest: bytes) -> "Steps":
        doc = kept_document(self._files, self._boot.staging)
        if doc:
            try:
                self._boot.accept_release(doc, digest)
                return doc
            except VerifyError:
                pass  # of another release, or signed by keys that have been replaced since
        return (
            yield from self._get(
                _name("/releases/%s.cose", digest), Fetch(0, -1, layout.MAX_DOCUMENT_BYTES)
            )
        )

    def _get(self, path: str, fetch: Fetch) -> "Steps":
        """A small document, in memory."""
        doc = bytearray()
        fetch.sink = doc.extend
        yield from self._pull(path, fetch)
        return doc

    # --- blobs

    def _blob(self, staging: Staging, index: int) -> "Steps":
        """Download one blob and put it in its place; once more from the start when the parts do
        not fit together.
        """
        partial = staging.partial(index)
        _, size, digest = staging.wanted[index]
        limit = size + size // 256 + 64  # what zlib makes of bytes that do not compress
        for attempt in (1, 2):
            if partial.size > limit:
                partial.restart()
            resumed = partial.size > 0
            fetch = Fetch(partial.size, partial.size - partial.size % BLOCK + BLOCK, limit)
            fetch.sink = partial.write
            try:
                yield from self._pull(_name("/blobs/%s", digest), fetch)
            finally:
                partial.close()
            try:
                yield from staging.unpack(index, partial)
                self.blobs += 1
                return
            except VerifyError:
                partial.restart()
                if attempt == 2 or not resumed:
                    raise

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


_HOPELESS = ("http-body", "http-range", "http-syntax", "http-header", "http-url")


def _name(pattern: str, digest: bytes) -> str:
    return pattern % hexlify(digest).decode()
