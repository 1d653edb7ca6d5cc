"""The registry's tables, as steps that are only ever appended to.

All times are integer milliseconds since 1970 (`*_ms`), all digests lower-case hex, all nested
values JSON text.  STRICT tables: a value of the wrong type is an error, not a surprise later.
"""

_FIRST = (
    """CREATE TABLE devices (
        id TEXT PRIMARY KEY,
        product TEXT NOT NULL,
        board TEXT NOT NULL,
        hw_uid TEXT UNIQUE,
        cert_serial TEXT UNIQUE,
        spki_sha256 TEXT UNIQUE,
        state TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'decommissioned')),
        created_ms INTEGER NOT NULL,
        version TEXT, slot TEXT, epoch INTEGER, release TEXT,
        confirmed INTEGER NOT NULL DEFAULT 0,
        online INTEGER NOT NULL DEFAULT 0,
        last_seen_ms INTEGER,
        boot INTEGER,
        reset_cause TEXT,
        heartbeat TEXT NOT NULL DEFAULT '{}',
        heartbeat_ms INTEGER,
        reported TEXT NOT NULL DEFAULT '{}'
    ) STRICT""",
    # Every certificate a device ever had: retiring it revokes them all.
    """CREATE TABLE certificates (
        serial TEXT PRIMARY KEY, device TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX devices_by_product ON devices (product, state)",
    """CREATE TABLE latest (
        device TEXT NOT NULL, metric TEXT NOT NULL, ts_ms INTEGER NOT NULL,
        value REAL, text TEXT, unit TEXT NOT NULL,
        PRIMARY KEY (device, metric)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE telemetry (
        device TEXT NOT NULL, metric TEXT NOT NULL, ts_ms INTEGER NOT NULL,
        value REAL, text TEXT, quality INTEGER NOT NULL,
        PRIMARY KEY (device, metric, ts_ms)
    ) STRICT, WITHOUT ROWID""",
    # Which (boot, seq) of a device arrived, as merged ranges: duplicates and holes fall out of it.
    """CREATE TABLE sequences (
        device TEXT NOT NULL, boot INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
        PRIMARY KEY (device, boot, first)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE counters (
        device TEXT NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL,
        PRIMARY KEY (device, name)
    ) STRICT, WITHOUT ROWID""",
    # Unix time minus uptime of a boot, for records made before the device knew the time.
    """CREATE TABLE clocks (
        device TEXT NOT NULL, boot INTEGER NOT NULL, offset_ms INTEGER NOT NULL,
        certain INTEGER NOT NULL, PRIMARY KEY (device, boot)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY, device TEXT NOT NULL, type TEXT NOT NULL,
        boot INTEGER, seq INTEGER, ts_ms INTEGER, received_ms INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT""",
    """CREATE UNIQUE INDEX events_once ON events (device, boot, seq, type)
        WHERE boot IS NOT NULL AND seq IS NOT NULL""",
    "CREATE INDEX events_by_device ON events (device, id)",
    """CREATE TABLE security (
        id INTEGER PRIMARY KEY, ts_ms INTEGER NOT NULL, kind TEXT NOT NULL,
        device TEXT NOT NULL, address TEXT NOT NULL, detail TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE rejects (
        id INTEGER PRIMARY KEY, ts_ms INTEGER NOT NULL, device TEXT NOT NULL, topic TEXT NOT NULL,
        code TEXT NOT NULL, detail TEXT NOT NULL, size INTEGER NOT NULL, payload BLOB NOT NULL
    ) STRICT""",
    "CREATE INDEX rejects_by_device ON rejects (device, id)",
    """CREATE TABLE schemas (
        id TEXT PRIMARY KEY, product TEXT NOT NULL, body BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE releases (
        digest TEXT PRIMARY KEY, product TEXT NOT NULL, version TEXT NOT NULL,
        epoch INTEGER NOT NULL, document BLOB NOT NULL, payload TEXT NOT NULL,
        schema_id TEXT REFERENCES schemas (id), published_ms INTEGER NOT NULL,
        UNIQUE (product, version)
    ) STRICT""",
    """CREATE TABLE heads (
        name TEXT PRIMARY KEY, release TEXT NOT NULL, sequence INTEGER NOT NULL,
        issued_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, document BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE rollouts (
        id TEXT PRIMARY KEY, product TEXT NOT NULL, release TEXT NOT NULL, state TEXT NOT NULL,
        created_ms INTEGER NOT NULL, document TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE rollout_devices (
        rollout TEXT NOT NULL REFERENCES rollouts (id), device TEXT NOT NULL,
        state TEXT NOT NULL, document TEXT NOT NULL,
        PRIMARY KEY (rollout, device)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE commands (
        id TEXT PRIMARY KEY, device TEXT NOT NULL, cmd TEXT NOT NULL, args TEXT NOT NULL,
        issued_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
        replied_ms INTEGER, ok INTEGER, reply TEXT
    ) STRICT""",
    "CREATE INDEX commands_by_device ON commands (device, issued_ms)",
    """CREATE TABLE audit (
        number INTEGER PRIMARY KEY, ts_ms INTEGER NOT NULL, actor TEXT NOT NULL,
        action TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT NOT NULL,
        previous TEXT NOT NULL, hash TEXT NOT NULL UNIQUE
    ) STRICT""",
    # A line once written stays as it was; the hash chain shows what a direct edit would hide.
    """CREATE TRIGGER audit_keeps BEFORE UPDATE ON audit
        BEGIN SELECT RAISE (ABORT, 'the audit log is append-only'); END""",
    """CREATE TRIGGER audit_stays BEFORE DELETE ON audit
        BEGIN SELECT RAISE (ABORT, 'the audit log is append-only'); END""",
)

# What is known of a certificate, so that the one before can be revoked once its successor is in
# use; and what the fleet wants of a device.
_SECOND = (
    "ALTER TABLE certificates ADD COLUMN fingerprint TEXT",
    "ALTER TABLE certificates ADD COLUMN spki_sha256 TEXT",
    "ALTER TABLE certificates ADD COLUMN issued_ms INTEGER",
    "ALTER TABLE certificates ADD COLUMN not_after_ms INTEGER",
    "ALTER TABLE certificates ADD COLUMN revoked_ms INTEGER",
    """CREATE TABLE desired (
        device TEXT PRIMARY KEY, version INTEGER NOT NULL, settings TEXT NOT NULL,
        issued_ms INTEGER NOT NULL, actor TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _SECOND)
