"""Every path, limit, field and reason code of the device's own formats.

Owns the names; the code that checks them is in `trust`, `slots` and `record`. The reference pages are generated
from this file: a constant or field is documented by the comment behind it, a reason by its line below.
Each `*_FIELDS` table lists the fields a decoded map must have, with their types; fields it does not list are ignored,
so that a later host can add one (`loader` in a release is what makes an old loader refuse a new meaning).

Reasons (`VerifyError.code`)::

    cbor-short      the bytes end inside an item, or a length points past the end
    cbor-form       reserved, indefinite or unsupported CBOR (floats and tags among them)
    cbor-minimal    an integer or length is not in its shortest form
    cbor-order      map keys are duplicated or not in ascending order of their encoding
    cbor-text       a text string is not UTF-8
    cbor-limit      nested deeper or made of more items than any document needs
    cbor-trailing   bytes follow the item
    doc-size        the document is larger than MAX_DOCUMENT_BYTES
    cose-shape      not a COSE_Sign structure (RFC 9052 section 4.1), or one with header fields that are not used here
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
    path            an unsafe, reserved, duplicate or unsorted path in the file list
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

LOADER = const(1)  # version of this loader; a release names the lowest it works with

# --- files on the device, below the root of the filesystem
HOME = "/outpost"  # everything the loader owns
BOARD = "/outpost/board.cbor"  # what the factory wrote about the board: BOARD_FIELDS
ROOT = "/outpost/root.cose"  # the trust root in force
RECORD = "/outpost/boot.cbor"  # the boot record: RECORD_FIELDS
EVIDENCE = "/outpost/evidence.cbor"  # what went wrong, until it has been reported: EVIDENCE_FIELDS
SECRET = "/outpost/secret.bin"  # 32 random bytes that never leave the device; key of the seals
NOTE = "/outpost/note"  # why the next reset was intended; consumed by the boot after it
TRACE = "/outpost/trace.txt"  # a traceback on its way into the evidence
SLOTS = ("/a", "/b")  # the two application slots
MANIFEST = "manifest.cose"  # in a slot: its signed release document
SEAL = "seal"  # in a slot: HMAC-SHA256 of the manifest's digest under the device's secret
ENTRY = "node/main.mpy"  # in a slot: the file the loader imports as node.main
TMP = "~"  # suffix of a file being written; renamed over the real one

# --- limits
MAX_DOCUMENT_BYTES = const(8192)  # any signed document
MAX_ITEMS = const(1024)  # CBOR items in one document
MAX_DEPTH = const(6)  # nesting of CBOR items
MAX_SIGNATURES = const(8)  # signatures on one document
MAX_FILES = const(160)  # files in one release
MAX_PATH = const(64)  # characters in a path inside a slot
MAX_FAILED = const(8)  # releases remembered as failed; the oldest is forgotten
MAX_HEADS = const(4)  # head names whose sequence is remembered
MAX_EVIDENCE = const(4)  # pieces of evidence kept; the oldest is dropped
MAX_TRACE = const(1000)  # bytes kept of a traceback: its end
MAX_TRIES = const(3)  # faults that end a trial
MAX_STARTS = const(50)  # starts that end a trial, whatever the reset cause: no trial is for ever
CHUNK = const(4096)  # bytes of a runtime image covered by one hash
BUFFER = const(2048)  # bytes read at a time while a slot is verified

# --- signatures: PS256 is RSASSA-PSS, SHA-256, MGF1-SHA-256, salt of 32 bytes (RFC 8230, RFC 8017)
ALG = const(-37)  # COSE algorithm PS256
KEY_BYTES = const(384)  # RSA-3072: modulus and signature
EXPONENT = const(65537)  # the only public exponent
KID_BYTES = const(8)  # a key's id: the start of SHA-256 of its modulus (big-endian, no DER)
TYPE = (
    "outpost/"  # followed by the role: content type in the protected header (RFC 9052 section 3.1)
)
ROLES = ("root", "release", "head", "ops")  # what a key may sign

# --- signed payloads
ROOT_FIELDS = (
    ("version", int),  # 1 for the first; each next root is exactly one more
    ("keys", dict),  # key id -> modulus (384 bytes, big-endian)
    (
        "roles",
        dict,
    ),  # role -> [threshold, [key ids], era]; a new era voids the sequences and epochs of the one before
)
HEAD_FIELDS = (
    ("name", str),  # the channel or device this head is for
    ("release", bytes),  # SHA-256 of the payload of the release to run
    ("sequence", int),  # never goes backwards on a device, within one era of the head role
    ("issued", int),  # Unix seconds
    ("expires", int),  # Unix seconds; later than that raises an alarm, never a refusal
    (
        "root",
        int,
    ),  # version of the trust root in force when it was signed: a newer one should be fetched
)
RELEASE_FIELDS = (
    ("product", str),  # name of the product
    ("version", str),  # for people; never compared
    ("epoch", int),  # anti-rollback: may not be below the device's floor
    ("boards", dict),  # board name -> [hardware revisions], an empty list for all
    ("chips", list),  # chips it may run on
    ("mpy", int),  # bytecode version of its .mpy files
    ("micropython", list),  # lowest MicroPython version, [major, minor, patch]
    ("loader", int),  # lowest loader version
    ("budget", int),  # bytes of flash the slot may take
    ("health", dict),  # HEALTH_FIELDS
    ("files", list),  # [path, size, SHA-256] each, sorted by path
    ("config", bytes),  # SHA-256 of the configuration it was built from
    ("sbom", bytes),  # SHA-256 of its bill of materials
    ("source", str),  # revision of the source it was built from
)
HEALTH_FIELDS = (
    ("deadline_s", int),  # seconds of running within which the release must be found healthy
    ("publishes", int),  # acknowledged publishes before it is
    ("heap_floor", int),  # free bytes of heap it must leave
    ("connected", bool),  # whether it must have been connected
)
RUNTIME_FIELDS = (  # the optional field `runtime` of a release: a MicroPython image that goes with it
    ("board", str),  # the board it is for
    ("build", str),  # what sys.version says when it runs
    ("mpy", int),  # bytecode version it executes
    ("micropython", list),  # its version, [major, minor, patch]
    ("size", int),  # bytes
    ("sha256", bytes),  # of the whole image
    ("chunks", str),  # path of the file with one SHA-256 for each 4096 bytes
)
OPS_FIELDS = (
    ("device", str),  # id of the one device it is for
    ("id", str),  # id of the command, which runs at most once
    ("command", str),  # wipe or decommission
    ("expires", int),  # Unix seconds
)

# --- files the loader keeps
BOARD_FIELDS = (  # optional: wdt_ms (0 = no watchdog, 8000 if absent), runtime_max (bytes of an OTA partition)
    ("product", str),  # name of the product
    ("board", str),  # name of the board
    ("chip", str),  # name of the chip
    ("hw", int),  # hardware revision
    ("slot_budget", int),  # bytes a slot may take
)
RECORD_FIELDS = (
    ("confirmed", int),  # index in SLOTS of the slot last found healthy
    ("trial", list),  # [] or [slot index, release digest, version, tries spent, starts]
    ("floor", list),  # [era of the release role, epoch]: raised by a confirmation only
    ("failed", list),  # digests of releases whose trial failed
    ("heads", dict),  # head name -> [era of the head role, sequence]
)
EVIDENCE_FIELDS = (
    ("version", str),  # of the release that ran
    ("digest", bytes),  # of the release that ran
    ("cause", str),  # one of CAUSES, or verify
    ("stage", str),  # import, run, health, verify
    ("text", str),  # end of the traceback, or the reason code
    ("tries", int),  # tries the trial had spent
)

# --- why the device started
POWER_ON = "power_on"
BROWN_OUT = "brown_out"
WATCHDOG = "watchdog"
DEEP_SLEEP = "deep_sleep"
HARD = "hard"  # a reset that nobody planned: a panic of the runtime
SOFT = "soft"  # somebody at the REPL
PLANNED = "planned"  # announced by a note: a command, an update
EXCEPTION = "exception"  # the application raised, or returned
UNHEALTHY = "unhealthy"  # the application gave up on its health contract
CAUSES = (POWER_ON, BROWN_OUT, WATCHDOG, DEEP_SLEEP, HARD, SOFT, PLANNED, EXCEPTION, UNHEALTHY)
FAULTS = (WATCHDOG, HARD, EXCEPTION, UNHEALTHY)  # these spend a try; the others do not
