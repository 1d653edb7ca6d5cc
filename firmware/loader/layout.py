"""Every path, field, cause and reason of the device's own formats; the rules are in the code.

The reference pages are generated from this docstring and from the comment behind each constant
here and in the modules beside (a limit that one module alone needs is a private constant there).
Fields that a table does not list are ignored, so that a later host can add one: `loader` in a
release is what makes an old loader refuse a new meaning. The code's own lists of fields (in the
calls of cbor.check) are compared with these tables by a test.

ROOT_FIELDS: the trust root::

    version         int    1 for the first; each next root is exactly one more
    keys            dict   key id (start of SHA-256 of the modulus) -> modulus, big-endian
    roles           dict   role -> [threshold, [key ids], era]; a new era voids what was seen in
                           the one before: the sequences of heads, the epochs of releases

HEAD_FIELDS: which release to run::

    name            str    the channel or device this head is for
    release         bytes  SHA-256 of the payload of the release to run
    sequence        int    never goes backwards on a device, within one era of the head role
    issued          int    Unix seconds
    expires         int    Unix seconds; later than that raises an alarm, never a refusal
    root            int    version of the trust root when it was signed

RELEASE_FIELDS: the manifest of a release::

    product         str    name of the product
    version         str    for people; never compared
    epoch           int    anti-rollback: may not be below the device's floor
    boards          dict   board name -> [hardware revisions], an empty list for all
    chips           list   chips it may run on
    mpy             int    bytecode version of its .mpy files
    micropython     list   lowest MicroPython version, [major, minor, patch]
    loader          int    lowest loader version
    budget          int    bytes of flash the slot may take
    health          dict   the health contract, for the application
    files           list   [path, size, SHA-256] each

RUNTIME_FIELDS: the optional field `runtime` of a release, a MicroPython image that goes with it::

    board           str    the board it is for
    build           str    what sys.version says when it runs
    mpy             int    bytecode version it executes
    micropython     list   its version, [major, minor, patch]
    size            int    bytes
    sha256          bytes  of the whole image
    chunks          str    path of the file with one SHA-256 for each 4096 bytes

OPS_FIELDS: a signed command::

    device          str    id of the one device it is for
    id              str    id of the command, which runs at most once
    command         str    wipe or decommission
    expires         int    Unix seconds

BOARD_FIELDS: /outpost/board.cbor, written into the factory image::

    product         str    name of the product
    board           str    name of the board
    chip            str    name of the chip
    hw              int    hardware revision
    slot_budget     int    bytes a slot may take
    wdt_ms          int    the watchdog's period (an RP2040's is at most 8388), 0 for none
    runtime_max     int    optional: bytes of a partition for a runtime

RECORD_FIELDS: /outpost/boot.cbor, the boot record::

    confirmed       int    index of the slot last found healthy
    trial           list   [] or [slot index, release digest, version, tries spent, starts]
    floor           list   [era of the release role, epoch]: raised by a confirmation only
    failed          list   digests of releases whose trial failed
    heads           dict   head name -> [era of the head role, sequence]

EVIDENCE_FIELDS: /outpost/evidence.cbor, a list of what went wrong::

    version         str    of the release that ran
    digest          bytes  of the release that ran
    cause           str    a cause, or verify
    stage           str    import, run, health or verify
    text            str    the end of the traceback, or the reason
    tries           int    what its trial had then spent

CAUSES: why the device started; those marked with * are faults, each spends a try of a trial::

    power_on        power came (an ESP32 reports a brown-out like this, too)
    brown_out       power sagged
    deep_sleep      woke up
    planned         announced by a note: an update, a command
    soft            somebody at the REPL
    watchdog *      the application hung
    hard *          a reset that nobody planned: a panic of the runtime
    exception *     the application raised, or returned
    unhealthy *     the application gave up on its health contract

REASONS: `VerifyError.code`::

    cbor-short      the bytes end inside an item, or a length points past the end
    cbor-form       reserved, indefinite or unsupported CBOR (floats and tags among them)
    cbor-minimal    an integer or length is not in its shortest form
    cbor-order      map keys are duplicated or not in ascending order of their encoding
    cbor-text       a text string is not UTF-8
    cbor-limit      nested deeper or made of more items than any document needs
    cbor-trailing   bytes follow the item
    doc-size        larger than any document may be
    cose-shape      not a COSE_Sign structure (RFC 9052 section 4.1), or one with other headers
    cose-type       signed as another kind of document than the one expected
    signer          no signature is by a key that the trust root gives this role
    signature       a signature by a known key does not verify
    threshold       fewer distinct keys have signed than the role demands
    field           a field is missing or of the wrong type
    root-keys       a key of the trust root is malformed, or its id is not its hash
    root-roles      a role of the trust root is missing, empty, or cannot reach its threshold
    root-version    not the version after the current trust root
    head-name       the head is for another channel or device
    head-rollback   the head is older than one this device has seen
    head-names      more head names than the boot record keeps
    digest          not the release that was asked for
    product         the release is for another product
    board           the release is not for this board
    hardware        the release does not support this hardware revision
    chip            the release is not for this chip
    mpy-abi         compiled for another bytecode version than the runtime executes
    micropython     needs a newer MicroPython than the runtime
    loader          needs a newer loader than this one
    slot-budget     larger than the slot of this board
    slot-size       the files are larger than the release's own budget says
    epoch           older than the anti-rollback floor of this device
    failed-before   this release failed its trial on this device
    path            an unsafe, reserved or duplicate path in the file list
    files           the file list is empty, too long or malformed
    entry           the release does not contain the application's entry file
    runtime-none    brings a runtime, but this board has no partition to put it in
    runtime-size    the runtime image is larger than the partition
    runtime-board   the runtime image is for another board
    runtime-chunks  the table of chunk hashes is not in the file list or has the wrong size
    runtime-running the application came with a runtime that is not the one running
    ops-device      the command is for another device
    ops-expired     the command has expired
    ops-clock       the command cannot be dated, as the clock is not set
    slot-empty      the slot holds no manifest
    slot-file       a file of the slot is missing or cannot be read
    slot-hash       a file of the slot does not match the manifest
    trial-running   a release on trial cannot install another one
"""

from micropython import const

TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from typing import Any

    Item = Any
    Map = dict[str, Any]
    Buffer = bytes | bytearray | memoryview

LOADER = const(1)  # version of this loader; a release names the lowest it works with
MAX_DOCUMENT_BYTES = const(8192)  # of any signed document, and of any file the loader keeps

HOME = "/outpost"  # everything the loader owns
BOARD = "/outpost/board.cbor"  # what the factory wrote about the board
ROOT = "/outpost/root.cose"  # the trust root in force
RECORD = "/outpost/boot.cbor"  # the boot record
EVIDENCE = "/outpost/evidence.cbor"  # what went wrong, until it has been reported
SECRET = "/outpost/secret.bin"  # 32 random bytes that never leave the device; key of the seals
NOTE = "/outpost/note"  # why the next reset was intended; consumed by the boot after it
SLOTS = ("/a", "/b")  # the two application slots
MANIFEST = "manifest.cose"  # in a slot: its signed release document
SEAL = "seal"  # in a slot: HMAC-SHA256 of the manifest's digest under the device's secret
ENTRY = "node/main.mpy"  # in a slot: the file the loader imports as node.main
TMP = "~"  # suffix of a file being written; renamed over the real one

ROLES = ("root", "release", "head", "ops")  # what a key may sign: one kind of document each
FAULTS = ("watchdog", "hard", "exception", "unhealthy")  # causes that spend a try
