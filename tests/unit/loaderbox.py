"""A device's filesystem in a folder, for the tests of the loader's files; on both interpreters."""

import os

import toykeys
from loader import cbor, handover, layout

_DIRECTORY = 0x4000
_FACTS = {"mpy": 6, "micropython": [1, 25, 0], "build": "3.4.0; MicroPython v1.25.0"}
BOARD = {name: toykeys.DEVICE[name] for name in ("product", "board", "chip", "hw", "slot_budget")}
BOARD["wdt_ms"] = 8000


def _temporary():
    return (os.getenv("TMPDIR") or "/tmp") + "/outpost-"


def remove(path):
    """A file, or a folder and all in it."""
    try:
        mode = os.stat(path)[0]
    except OSError:
        return
    if not mode & _DIRECTORY:
        os.remove(path)
        return
    for name in os.listdir(path):
        remove(path + "/" + name)
    os.rmdir(path)


class Box:
    """One device; `boot` starts the loader on it as far as the application's import."""

    def __init__(self, root=None):
        self.base = _temporary() + "".join(["%02x" % byte for byte in os.urandom(8)])
        os.mkdir(self.base)
        self.write("/outpost/secret.bin", bytes(range(32)))
        self.write("/outpost/board.cbor", cbor.encode(BOARD))
        self.write("/outpost/root.cose", toykeys.sign("root", root or toykeys.root_map(), 1, 2))

    def close(self):
        remove(self.base)

    def write(self, path, data):
        folder = self.base
        for part in path.split("/")[1:-1]:
            folder += "/" + part
            try:
                os.mkdir(folder)
            except OSError:
                pass
        with open(self.base + path, "wb") as f:
            f.write(data)

    def read(self, path):
        try:
            with open(self.base + path, "rb") as f:
                return f.read()
        except OSError:
            return None

    def flip(self, path, index=0):
        data = bytearray(self.read(path))
        data[index] ^= 1
        self.write(path, data)

    def fill(self, slot, version="1.0.0", signer=toykeys.RELEASE, **fields):
        """A release in a slot as the factory writes it: files and manifest; the document."""
        files = {"node/__init__.mpy": b"", "node/main.mpy": b"main " + version.encode()}
        doc = toykeys.sign(
            "release", toykeys.release_map(files, version=version, **fields), signer
        )
        for path in files:
            self.write(slot + "/" + path, files[path])
        self.write(slot + "/manifest.cose", doc)
        return doc

    def stage(self, slot, version, **fields):
        """Only the files, as a download leaves them; the document."""
        doc = self.fill(slot, version, **fields)
        remove(self.base + slot + "/manifest.cose")
        return doc

    def boot(self, cause="power_on", reason="", **facts):
        """(the hand-over object, whether a slot can be executed)."""
        device = dict(BOARD)
        device.update(_FACTS)
        device.update(facts)
        boot = handover.Boot(self.base, device, cause, reason)
        return boot, boot.select()

    def running(self, cause="power_on"):
        """What "slot version mode" a boot would start; "safe" for none."""
        boot, ready = self.boot(cause)
        if not ready:
            return "safe"
        return " ".join((boot.slot[len(self.base) :], boot.version, boot.mode))


def record_of(box):
    """The boot record as it is on flash; None before there is one."""
    data = box.read(layout.RECORD)
    return data and cbor.decode(data[8:])
