"""The device's identity: makes its key, asks for a certificate, and changes both without ever
being without one.

Owns /data/id. The pair in use is {key,cert,ca}.der; its successor is {key,cert,ca}.next, and
`tries` counts how often it came to nothing: on flash, because a battery device's tries are wakes.
Invariants: a private key never leaves this file; a pair is used only when the certificate is for
the key; the old pair is there until the new one has connected.

Promotion renames three files, and a cut may fall between any two. The key goes first and the
certificate last, so "a next certificate without a next key" means one thing only, that a promotion
was under way, and `recover` ends it. Before it begins, the next pair is complete; so at every
instant one complete pair can be told from the names alone.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FOLDER = "/data/id"
_TRIES = 3  # of a new pair before the old one is used again


class IdentityError(Exception):
    """`code`: no-request (a certificate came that nobody asked for), mismatch (it is for another
    key), no-identity.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Identity:
    """`storage` is the port of hal/storage.py, `urandom` os.urandom, `personal` the chip's unique
    id.
    """

    def __init__(
        self,
        storage: "Any",
        urandom: "Callable[[int], bytes]",
        personal: bytes = b"",
        folder: str = FOLDER,
    ) -> None:
        self._storage = storage
        self._urandom = urandom
        self._personal = personal
        self._folder = folder

    def _path(self, name: str) -> str:
        return self._folder + "/" + name

    def _read(self, name: str) -> "bytes | None":
        found = self._storage.read(self._path(name))
        return found or None

    def _pair(self, ending: str) -> "tuple[bytes, bytes, bytes | None] | None":
        key = self._read("key" + ending)
        cert = self._read("cert" + ending)
        if not key or not cert:  # they fit: `install` saw to it before it gave them these names
            return None
        # a successor may leave the authority as it is
        return key, cert, self._read("ca" + ending) or self._read("ca.der")

    # --- getting one

    def request(self, device_id: str) -> bytes:
        """A certificate request for a new key. Asked again before the answer came, it is for the
        same key.
        """
        self.recover()
        key = self._read("key.next")
        from node.core import csr, p256  # sixteen kilobytes of heap, for once in a device's year

        if key is None or not _is_key(key) or self._read("cert.next"):
            self._storage.remove(self._path("cert.next"))
            key = csr.key_der(p256.private_key(self._urandom, self._personal))
            self._storage.write_atomic(self._path("key.next"), key)
        return csr.request(key, device_id)

    def install(self, certificate: bytes, authority: "bytes | None" = None) -> None:
        """Keep the answer to `request`. The first identity is in use at once, a later one once it
        has connected.
        """
        self.recover()
        key = self._read("key.next")
        if key is None:
            current = self._pair(".der")
            if current and current[1] == certificate:
                return  # delivered twice
            raise IdentityError("no-request")
        if not _fits(certificate, key):
            raise IdentityError("mismatch")
        if authority and authority != self._read("ca.der"):
            self._storage.write_atomic(self._path("ca.next"), authority)
        else:
            self._storage.remove(self._path("ca.next"))
        self._storage.remove(self._path("tries"))
        self._storage.write_atomic(self._path("cert.next"), certificate)
        if self._pair(".der") is None:
            self._promote()

    # --- using it

    def credentials(self) -> "tuple[bytes, bytes, bytes | None]":
        """(key, certificate, authority), DER, for the next connection attempt."""
        self.recover()
        pair = None if self._failures() >= _TRIES else self._pair(".next")
        pair = pair or self._pair(".der")
        if pair is None:
            raise IdentityError("no-identity")
        return pair

    @property
    def rotating(self) -> bool:
        """True while a new pair is waiting to prove itself."""
        return self._pair(".next") is not None

    def connected(self, certificate: bytes) -> str:
        """A session was opened with `certificate`. If it is the successor, the old pair goes:
        "promoted". If it is the old one and the successor has had its tries, that goes: "dropped".
        """
        if self._read("key.next") and self._read("cert.next") == certificate:
            self._promote()
            self._storage.remove(self._path("tries"))
            return "promoted"
        if self.rotating and self._failures() >= _TRIES:
            # the certificate first: without its key it would read as a promotion under way
            for name in ("cert.next", "ca.next", "key.next", "tries"):
                self._storage.remove(self._path(name))
            return "dropped"
        return ""

    def failed(self, certificate: bytes) -> None:
        """A connection attempt with `certificate` came to nothing (whatever the reason)."""
        if self._read("cert.next") == certificate:
            self._storage.write_atomic(self._path("tries"), bytes((self._failures() + 1,)))
        elif self.rotating:  # neither did the old one: it says nothing about the successor
            self._storage.remove(self._path("tries"))

    def _failures(self) -> int:
        return (self._read("tries") or b"\0")[0]

    # --- changing over

    def _promote(self) -> None:
        self._storage.rename(self._path("key.next"), self._path("key.der"))
        self._finish()

    def _finish(self) -> None:
        if self._read("ca.next"):
            self._storage.rename(self._path("ca.next"), self._path("ca.der"))
        self._storage.rename(self._path("cert.next"), self._path("cert.der"))

    def recover(self) -> None:
        """End a promotion that a power cut interrupted."""
        if self._read("cert.next") and not self._read("key.next"):
            self._finish()


def _is_key(key: bytes) -> bool:
    from node.core import csr

    try:
        csr.private_of(key)
    except ValueError:
        return False
    return True


def _fits(certificate: bytes, key: bytes) -> bool:
    from node.core import csr

    return _is_key(key) and csr.certifies(certificate, key)
