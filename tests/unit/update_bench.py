"""What the updater's tests run it on: a boot object without signatures, a filesystem in a dict, a
server in memory.
"""

import hashlib
import io
import unittest
from binascii import hexlify

from loader import cbor, trust
from loader.cbor import VerifyError
from memory_server import Server
from node.core.fetch import Fetch
from node.core.update import Config, Update

BASE = "http://h:80/update"


def sha(data):
    return hashlib.sha256(data).digest()


def stored(data):
    """`data` as a zlib stream of stored blocks: the VM has no compressor."""
    out = bytearray(b"\x18\x19")
    for start in range(0, len(data), 65535) or (0,):
        part = data[start : start + 65535]
        out.append(1 if start + len(part) >= len(data) else 0)
        out.extend(
            len(part).to_bytes(2, "little") + (len(part) ^ 0xFFFF).to_bytes(2, "little") + part
        )
    a, b = 1, 0
    for byte in data:
        a = (a + byte) % 65521
        b = (b + a) % 65521
    out.extend((b << 16 | a).to_bytes(4, "big"))
    return bytes(out)


class MemoryFiles:
    """The port of core.staging, and the flash under it."""

    def __init__(self):
        self.data = {}
        self.folders = {"", "/a", "/b"}
        self.writes = 0
        self.room = 1 << 20

    def open(self, path, mode):
        if mode == "rb":
            if path not in self.data:
                raise OSError(2)
            return io.BytesIO(self.data[path])
        if path.rsplit("/", 1)[0] not in self.folders or path in self.folders:
            raise OSError(2)
        return _Writer(self, path, self.data.get(path, b"") if mode == "ab" else b"")

    def entries(self, path):
        start = len(path) + 1
        files = [
            (p[start:], False)
            for p in self.data
            if p.startswith(path + "/") and "/" not in p[start:]
        ]
        return files + [
            (p[start:], True)
            for p in self.folders
            if p.startswith(path + "/") and "/" not in p[start:]
        ]

    def size(self, path):
        return len(self.data[path]) if path in self.data else -1

    def free(self, path):
        return self.room

    def remove(self, path):
        self.writes += 1
        if path not in self.data:
            raise OSError(2)
        del self.data[path]

    def rename(self, old, new):
        self.writes += 1
        self.data[new] = self.data[old]
        del self.data[old]

    def mkdir(self, path):
        if path in self.folders or path in self.data:
            raise OSError(17)
        self.writes += 1
        self.folders.add(path)

    def rmdir(self, path):
        self.writes += 1
        self.folders.remove(path)


class _Writer:
    def __init__(self, files, path, data):
        self._files = files
        self._path = path
        self._data = bytearray(data)

    def write(self, part):
        self._data.extend(part)

    def flush(self):
        self._files.writes += 1
        self._files.data[self._path] = bytes(self._data)

    def close(self):
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Boot:
    """As the loader's, without signatures, in memory."""

    index = 0
    slot = "/a"
    staging = "/b"
    trial = False

    def __init__(self, files):
        self.files = files
        self.root = {"version": 1}
        self.digest = b"old"
        self.bad = ()
        self.active = None
        self.planned = ""
        self.refuse = ""
        self.sequence = 0

    def accept_root(self, doc):
        self.root = cbor.decode(doc)

    def accept_head(self, doc, name, now_s):
        head = cbor.decode(doc)
        if head.get("key", 1) > self.root["version"]:
            raise VerifyError("signer")
        head["frozen"] = now_s is not None and now_s > 100
        return head

    def accept_release(self, doc, digest):
        release = trust.parse_release(doc, digest)
        if self.refuse:
            raise VerifyError(self.refuse)
        return release

    def failed(self, digest):
        return digest in self.bad

    def activate(self, doc, digest):
        for path, size, file_digest in trust.parse_release(doc, digest)["files"]:
            data = self.files.data["/b/" + path]
            if len(data) != size or sha(data) != file_digest:
                raise VerifyError("slot-hash", path)
        self.active = digest

    def plan_reset(self, reason):
        self.planned = reason


def release_doc(files, budget=1 << 20):
    return cbor.encode(
        {
            "product": "p",
            "version": "2",
            "epoch": 0,
            "boards": {},
            "chips": [],
            "mpy": 6,
            "micropython": [1, 25, 0],
            "loader": 1,
            "budget": budget,
            "health": {"deadline_s": 1, "publishes": 1, "heap_floor": 1, "connected": True},
            "files": [[path, len(data), sha(data)] for path, data in sorted(files.items())],
            "config": b"",
            "sbom": b"",
            "source": "",
        }
    )


def document_path(digest):
    return "/update/releases/" + hexlify(digest).decode() + ".cose"


def noise(size, seed=1):
    out = bytearray()
    while len(out) < size:
        out.extend(sha(b"%d %d" % (seed, len(out))))
    return bytes(out[:size])


class UpdateCase(unittest.TestCase):
    def setUp(self):
        self.files = MemoryFiles()
        self.boot = Boot(self.files)
        self.new = {
            "node/main.mpy": noise(9000),
            "node/core/x.mpy": noise(700, 2),
            "schema.cbor": b"s" * 50,
        }
        self.reports = []
        self.publish(self.new)
        self.allowed = ""

    def publish(self, new):
        doc = release_doc(new)
        self.digest = sha(doc)
        resources = {document_path(self.digest): doc}
        for data in new.values():
            resources["/update/blobs/" + hexlify(sha(data)).decode()] = stored(data)
        self.server = Server(resources)
        self.head({})

    def head(self, changes):
        head = {"release": self.digest, "root": 1, "sequence": 1}
        head.update(changes)
        self.server.resources["/update/heads/h.cose"] = cbor.encode(head)

    def updater(self):
        config = Config(BASE, "h", lambda release: self.allowed)
        return Update(self.boot, self.files, config, lambda *step: self.reports.append(step))

    def pump(self, update=None, now_s=None):
        """Run one check; the updater, when it has ended."""
        update = update or self.updater()
        for action in update.run(now_s):
            if isinstance(action, Fetch):
                self.server.carry(action)
            else:
                self.server.now_ms += max(0, action)
        return update

    def blob(self, path):
        return "/update/blobs/" + hexlify(sha(self.new[path])).decode()

    def ends(self, outcome, code=""):
        update = self.pump()
        self.assertEqual((update.outcome, update.code), (outcome, code))
        return update

    def installed(self):
        self.assertEqual(self.boot.active, self.digest)
        for path, data in self.new.items():
            self.assertEqual(self.files.data["/b/" + path], data)
