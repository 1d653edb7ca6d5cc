"""The update repository over HTTP: what a device fetches, as a static server would give it.

Everything is signed or content-addressed, so this endpoint needs no authentication and can be put
behind any cache: blobs, releases and roots never change (`immutable`), heads are revalidated by
ETag.
One range per request (RFC 9110 section 14): that is what a resumed download asks for.
"""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from outpost.fleet.registry import Registry
from outpost.fleet.registry.devices import valid_device_id

IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")
_HEX64 = re.compile(r"[0-9a-f]{64}\Z")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}\Z")


@dataclass(frozen=True)
class Item:
    content: bytes
    etag: str
    caching: str


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class UpdateFiles:
    """find(path) -> Item; paths are those below /update."""

    def __init__(self, registry: Registry, folder: Path) -> None:
        self._registry = registry
        self._folder = folder

    def find(self, path: str) -> Item | None:
        kind, _, name = path.partition("/")
        stem = name.removesuffix(".cose")
        if kind == "heads" and name.endswith(".cose") and valid_device_id(stem):
            return self._head(stem)
        if kind == "blobs" and _HEX64.match(name):
            return self._file(f"blobs/{name}", name)
        if kind == "releases" and name.endswith(".cose") and _HEX64.match(stem):
            return self._file(f"releases/{name}", stem)
        if kind == "roots" and name.endswith(".cose") and _NUMBER.match(stem):
            return self._file(f"roots/{name}", f"root-{stem}")
        return None

    def _head(self, name: str) -> Item | None:
        head = self._registry.releases.head(name)
        if head is None:
            return None
        digest = hashlib.sha256(head.document).hexdigest()
        return Item(head.document, f'"{digest[:32]}"', REVALIDATE)

    def _file(self, path: str, tag: str) -> Item | None:
        try:
            return Item((self._folder / path).read_bytes(), f'"{tag}"', IMMUTABLE)
        except FileNotFoundError:
            return None


def answer(item: Item | None, request: dict[str, str]) -> Answer:
    """The response to a GET; `request` has the header names in lower case."""
    if item is None:
        return Answer(404, {"cache-control": "no-store"}, b"not found\n")
    headers = {
        "etag": item.etag,
        "cache-control": item.caching,
        "accept-ranges": "bytes",
        "content-type": "application/octet-stream",
        "x-content-type-options": "nosniff",
    }
    if _matches(request.get("if-none-match", ""), item.etag):
        return Answer(304, headers)
    span = None
    if request.get("if-range", item.etag) == item.etag:
        span = _span(request.get("range", ""), len(item.content))
    if span is None:
        return Answer(200, headers, item.content)
    first, last = span
    if first > last:
        return Answer(416, {**headers, "content-range": f"bytes */{len(item.content)}"})
    headers["content-range"] = f"bytes {first}-{last}/{len(item.content)}"
    return Answer(206, headers, item.content[first : last + 1])


def _matches(header: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return etag in tags or header.strip() == "*"


def _span(header: str, size: int) -> tuple[int, int] | None:
    """(first, last) inclusive; None: no usable range, send all; first > last: not satisfiable."""
    match = _RANGE.match(header)
    if not match or not (match[1] or match[2]) or len(header) > 64:
        return None
    if not match[1]:  # the last n bytes
        count = min(int(match[2]), size)
        return (size - count, size - 1) if count else (1, 0)
    first = int(match[1])
    last = min(int(match[2]), size - 1) if match[2] else size - 1
    if match[2] and int(match[2]) < first:
        return None
    return (first, last) if first < size else (1, 0)
