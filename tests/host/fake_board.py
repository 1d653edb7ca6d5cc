"""A board in memory that implements the station's Link port, and cuts: of its power or of the
station's.

It understands the station's scripts by what they call, and does with the device's own code
(node.tasks.identity over a dictionary) what the board would do: key, request and certificate are
real.
"""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

from loader import cbor
from node.core import csr
from node.tasks.identity import Identity
from outpost.errors import ExitCode, OutpostError
from outpost.factory import scripts


class Cut(BaseException):
    """The station dies here: power, crash, kill -9."""


def lost() -> OutpostError:
    return OutpostError("link-lost", "the board's power was cut", None, ExitCode.LINK_LOST)


class Files:
    """The storage port. Power goes before or after write number `cut_at`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.writes = 0
        self.cut_at = 0
        self.cut_after = False

    def _write(self, change: Any) -> None:
        self.writes += 1
        if self.writes != self.cut_at:
            change()
            return
        if self.cut_after:
            change()
        raise lost()

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def write_atomic(self, path: str, data: bytes) -> None:
        self._write(lambda: self.files.__setitem__(path, bytes(data)))

    def rename(self, old: str, new: str) -> None:
        self._write(lambda: self.files.__setitem__(new, self.files.pop(old)))

    def remove(self, path: str) -> None:
        if path in self.files:
            self._write(lambda: self.files.pop(path))


@dataclass
class FakeBoard:
    """What is on the bench; `open` is the station's opener."""

    uid: str = "e6614103e7452d21"
    product: str = "weather"
    board: str = "rpi_pico_w"
    manifest: bytes = b"signed release"
    storage: Files = field(default_factory=Files)
    cut_ask: int = 0
    """The station dies at its n-th request, ..."""
    cut_answer: bool = False
    """... after the board has carried it out."""
    asked: int = 0
    resets: int = 0
    tls_error: str = ""
    flash_error: str = ""
    heap_free: int = 100_000
    addresses: tuple[int, ...] = (0x76,)
    _random: int = 0

    def open(self, port: str) -> "FakeBoard":
        return self

    def _urandom(self, size: int) -> bytes:
        self._random += 1
        seed = f"{self.uid}-{self._random}".encode()
        out = b"".join(hashlib.sha256(seed + bytes([n])).digest() for n in range(size // 32 + 1))
        return out[:size]

    def identity(self) -> Identity:
        return Identity(self.storage, self._urandom, self.uid.encode())

    def ask(self, what: str, script: str) -> Any:
        self.asked += 1
        if self.asked == self.cut_ask and not self.cut_answer:
            raise Cut()
        answer = self._answer(script)
        if self.asked == self.cut_ask:
            raise Cut()
        return answer

    def _answer(self, script: str) -> Any:
        if script == scripts.IDENTIFY:
            return self._facts()
        if script == scripts.SELF_TEST:
            key, cert, _ = self.identity().credentials()
            error = self.tls_error or ("" if csr.certifies(cert, key) else "mismatch")
            return {"tls": error, "heap_free": self.heap_free, "random": True, "free": 1}
        if "selftest" in script:
            return {
                "heap": self.heap_free,
                "blk": self.heap_free,
                "flash": self.flash_error,
                "flash_free": 1 << 19,
                "random": True,
                "clock": True,
                "radio": 2,
                "sensors": {"air": "" if self.addresses else "absent"},
            }
        if script == scripts.public_key():
            key = self.storage.read("/data/id/key.der") or self.storage.read("/data/id/key.next")
            return csr.public_of(key) if key else b""
        if found := re.search(r"_i\.request\('(.*)'\)", script):
            return self.identity().request(found[1])
        if found := re.search(r"_i\.install\((b.*), (b.*)\)\n", script):
            self.identity().install(eval(found[1]), eval(found[2]))  # noqa: S307 - bytes literals
            return True
        if found := re.search(r"write_atomic\('(.*)', (b.*)\)\n", script):
            self.storage.write_atomic(found[1], eval(found[2]))  # noqa: S307
            return True
        if "scan()" in script:
            return {"i2c0": list(self.addresses)}
        raise AssertionError(f"a script this board does not know: {script}")

    def _facts(self) -> dict[str, Any]:
        def digest(path: str) -> str:
            data = self.storage.read(path)
            return hashlib.sha256(data).hexdigest() if data is not None else ""

        names = ("device.cbor", "id/cert.der", "id/ca.der")
        return {
            "uid": self.uid,
            "machine": "a fake",
            "micropython": [1, 25, 0],
            "board": cbor.encode({"board": self.board, "product": self.product}),
            "manifest": hashlib.sha256(self.manifest).hexdigest() if self.manifest else "",
            "free": 1,
            "files": {name: digest(f"/data/{name}") for name in names},
        }

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        return
