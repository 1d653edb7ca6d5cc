"""What is expensive and always comes out the same is made once per test run, by whichever worker
needs it first: shrunk sources, compiled modules, RSA keys.

Owns a folder that lives as long as the run. Invariants: an answer is kept under the whole of its
question, so a changed source is another question; no two keys of one process are the same; a
test marked `afresh` gets nothing of it: those of shrinking, of signing, of reproducible builds.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from outpost.build import compile as compiling
from outpost.build import shrink
from outpost.signing.keys import SigningKey

_FOLDER = "OUTPOST_TEST_RUN"  # by the environment, from the run to its workers
_PKCS8 = (
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)


class Once:
    """Answers by kind and question, on disk; `sparing` False: nothing is looked up."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.sparing = True
        self._keys = itertools.count()

    def get(self, kind: str, question: bytes, make: Callable[[], bytes]) -> bytes:
        path = self._folder / f"{kind}-{hashlib.sha256(question).hexdigest()[:32]}"
        if not path.exists():
            with path.with_suffix(".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # who comes second waits, and works not at all
                if not path.exists():
                    made = path.with_suffix(f".{os.getpid()}")
                    made.write_bytes(make())
                    made.rename(path)
        return path.read_bytes()

    def texts(self, function: Callable[..., dict[str, str]]) -> Callable[..., dict[str, str]]:
        """The same function of sources."""

        def answered(sources: dict[str, str], *rest: Any) -> dict[str, str]:
            if not self.sparing:
                return function(sources, *rest)
            asked = [sorted(given) if isinstance(given, frozenset) else given for given in rest]
            question = json.dumps([list(sources.items()), asked]).encode()
            found = self.get(
                function.__name__, question, lambda: json.dumps(function(sources, *rest)).encode()
            )
            return dict(json.loads(found))

        return answered

    def compiled(self, function: Callable[..., bytes]) -> Callable[..., bytes]:
        """The same compiler of one file."""

        def answered(source: Path, name: str, level: int, shown: str = "") -> bytes:
            if not self.sparing:
                return function(source, name, level, shown)
            question = json.dumps([name, level, shown]).encode() + source.read_bytes()
            return self.get("mpy", question, lambda: function(source, name, level, shown))

        return answered

    def key(self, function: Callable[[], SigningKey]) -> Callable[[], SigningKey]:
        """The run's next key that this process has not had yet."""

        def pem() -> bytes:
            return function()._private.private_bytes(*_PKCS8)

        def answered() -> SigningKey:
            if not self.sparing:
                return function()
            found = self.get("key", str(next(self._keys)).encode(), pem)
            private = serialization.load_pem_private_key(
                found, None, unsafe_skip_rsa_key_validation=True
            )
            assert isinstance(private, rsa.RSAPrivateKey)
            return SigningKey(private)

        return answered

    def fresh_for(self, item: pytest.Item) -> None:
        self.sparing = item.get_closest_marker("afresh") is None


def begin(config: pytest.Config) -> Once:
    """In the run and in each of its workers: put the answers before the functions."""
    config.addinivalue_line("markers", "afresh: takes nothing that the run has made before")
    if not hasattr(config, "workerinput"):
        os.environ[_FOLDER] = tempfile.mkdtemp(prefix="outpost-run-")
    once = Once(Path(os.environ[_FOLDER]))
    shrink.shrink = once.texts(shrink.shrink)
    shrink.shrink_loader = once.texts(shrink.shrink_loader)
    compiling.compile_source = once.compiled(compiling.compile_source)
    SigningKey.generate = staticmethod(once.key(SigningKey.generate))
    return once


def end(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(_FOLDER), ignore_errors=True)
