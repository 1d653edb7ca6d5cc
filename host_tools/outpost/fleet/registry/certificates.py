"""Every certificate a device ever had, and which of them are still good."""

from dataclasses import dataclass

from outpost.fleet.registry.database import Database, Row


@dataclass(frozen=True)
class Certificate:
    """`fingerprint`: the first 8 bytes of its SHA-256, as the device says which one it uses."""

    serial: str
    device: str
    fingerprint: str | None = None
    spki_sha256: str | None = None
    issued_ms: int | None = None
    not_after_ms: int | None = None
    revoked_ms: int | None = None


class Certificates:
    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, certificate: Certificate) -> None:
        """Know it; what was known of this serial before is completed."""
        with self._db.write() as db:
            db.execute(
                "INSERT INTO certificates (serial, device, fingerprint, spki_sha256, issued_ms,"
                " not_after_ms) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (serial) DO UPDATE SET"
                " fingerprint = excluded.fingerprint, spki_sha256 = excluded.spki_sha256,"
                " issued_ms = excluded.issued_ms, not_after_ms = excluded.not_after_ms",
                (
                    certificate.serial,
                    certificate.device,
                    certificate.fingerprint,
                    certificate.spki_sha256,
                    certificate.issued_ms,
                    certificate.not_after_ms,
                ),
            )

    def of(self, device: str) -> list[Certificate]:
        """Oldest first."""
        rows = self._db.all(
            "SELECT * FROM certificates WHERE device = ? ORDER BY coalesce(issued_ms, 0), serial",
            (device,),
        )
        return [_certificate(row) for row in rows]

    def revoked(self, serial: str, now_ms: int) -> None:
        with self._db.write() as db:
            db.execute(
                "UPDATE certificates SET revoked_ms = coalesce(revoked_ms, ?) WHERE serial = ?",
                (now_ms, serial),
            )


def _certificate(row: Row) -> Certificate:
    return Certificate(**dict(row))
