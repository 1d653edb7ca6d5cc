"""The update: from a head that names another release to the reset that tries it.

Goes on where `core.check` ends: see there for how it is driven, and for outcomes and codes.

Order, and why: the release document is verified and compared with the board before the staging
slot is touched; the conditions are asked before anything is spent; what the flash already holds is
never downloaded; `Boot.activate` verifies the whole slot as it will be executed, writes the
manifest and begins the trial, in one rename. Every byte of progress is on flash in `staging`, so a
cut anywhere needs no repair: the next run finds what there is. A download asks for at most BLOCK
bytes at a time, which bounds what a dead link can have in flight, and so what is ever fetched
twice.
"""

from binascii import hexlify

from loader import layout
from loader.cbor import VerifyError
from node.core.check import ENOSPC, FORGET, REBOOT, WAITING, Check, Config
from node.core.fetch import BLOCK, Fetch
from node.core.filetable import FileTable
from node.core.staging import Staging, clear, kept_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Generator

    Steps = Generator[Any, None, Any]


class Update(Check):
    """One device's updater: a check that installs what it finds."""

    def __init__(
        self,
        boot: "Any",
        files: "Any",
        config: Config,
        report: "Callable[..., None] | None" = None,
    ) -> None:
        super().__init__(boot, config, report)
        self._files = files
        self._staging: "Any" = None
        self._runtime: "Any" = None  # the release's, when it is not the one that runs

    def _found(self, digest: bytes) -> "Steps":
        if (yield from self._offer(digest)):
            yield FORGET
            yield from self._fill()
            spare = yield from self._fill_runtime(digest)
            yield from self._activate(digest, spare)

    def _no_room(self) -> None:
        clear(self._files, self._boot.staging)

    def _no_memory(self) -> None:
        self._staging = None

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
            raise OSError(ENOSPC)  # before it is all downloaded in vain
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


def _name(pattern: str, digest: bytes) -> str:
    return pattern % hexlify(digest).decode()
