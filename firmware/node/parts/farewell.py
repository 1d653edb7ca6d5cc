"""The end of a device's life in a fleet: everything that made it this device is forgotten.

Theory. littlefs copies on write: a file that is removed or replaced stays readable in blocks that
are now free, and small files lie in the blocks of their folder. So a wipe is more than removing:
the folders go with their files, the blocks of the folder that stays (the loader's, which held the
device's secret) are turned over by writing until both have been erased, and then one file is
written until the disk is full, which erases every block that is free. It is found out by reading
the flash back, block by block.

Order, and what a power cut does to it (docs/decisions/wipe.md): once it is authorised, sign the
receipt while there is a key; put the mark on flash; forget; look; send the receipt over the
session that is still open; rename the mark. While the mark is there, `finish` goes on with it at
the start of the node, before anything else; the device cannot speak any more then, and keeps its
receipt for the station.
"""

import asyncio
import gc
import os

from loader import cbor, layout, record
from loader.cbor import sha256
from node.core.command import Refused
from node.hal import flash
from node.hal.storage import Storage
from node.parts import warrant

MARK = "/outpost/wipe.cbor"
RECEIPT = "/outpost/wiped.cbor"
_DATA = "/data"
_FILL = "/fill"
_TURN = "/outpost/turn"
_TURN_BYTES = 100
_TURNS = 256  # times 100 bytes: more than the two blocks of a folder hold, three times over
_CHUNK = 512
_STEP = 8  # chunks between two looks at the rest of the world
_FOLDER = 0x4000
_ENOSPC = 28


class Farewell:
    """A `wipe` or a `decommission` that `parts.warrant` has found signed by an ops key."""

    def __init__(self, node, command) -> None:
        self._node = node
        self._command = command

    async def carry_out(self, beat) -> dict:
        """The answer, once everything is gone."""
        node = self._node
        receipt, secrets = await warrant.patiently(self._prepared, beat)
        record.write(MARK, cbor.encode(receipt))
        _hold_still()
        node.log.clear()
        left = -1
        for _ in range(2):
            for _ in erased():
                beat()
                await asyncio.sleep_ms(0)
            left = 0
            for found in flash.found(secrets):
                left += found
                beat()
                await asyncio.sleep_ms(0)
            if not left:
                break
        if left:
            raise Refused("residue")
        return receipt

    def done(self) -> None:
        """The receipt has been sent."""
        os.rename(MARK, RECEIPT)
        self._node.stop("wipe")

    def _prepared(self) -> tuple:
        """The receipt, and what must not be found afterwards."""
        return self._receipt(), _secrets(self._node.storage)

    def _receipt(self) -> dict:
        """Signed with the device's key, as the last thing that key does."""
        import hashlib

        from node.core import csr, p256

        node, command = self._node, self._command
        key = node.storage.read("/data/id/key.der")
        fields = {"t": "wiped", "device": node.id, "id": command.id, "boot": node.boot_number}
        fields["ts"] = node.unix_s()
        fields["ops"] = sha256(command.ops)
        document = cbor.encode(fields)
        r, s = p256.sign(csr.private_of(key), hashlib.sha256(document).digest())
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return {"doc": document, "sig": signature, "pub": csr.public_of(key)}


def _secrets(storage) -> list:
    """What must not be found on flash afterwards: pieces of the keys and passwords."""
    found = [record.read(layout.SECRET)[:16]]
    for name in storage.listdir(_DATA + "/id"):
        if name.startswith("key."):
            from node.core import csr

            try:
                private = csr.private_of(storage.read(_DATA + "/id/" + name))
            except ValueError:
                continue
            found += [private[:16], private[16:]]
    device = cbor.decode(storage.read(_DATA + "/device.cbor"))
    found += [wifi["psk"].encode() for wifi in device.get("wifi", []) if len(wifi["psk"]) > 7]
    return [piece for piece in found if piece]


def _hold_still() -> None:
    """From now on nothing of the node is written to flash: it would be there afterwards."""
    Storage.write_atomic = Storage.append = Storage.rename = _nothing


def _nothing(*given) -> None:
    """Instead of writing."""


# --- forgetting


def erased(base: str = ""):
    """Forget, in small steps: a generator, so that a watchdog can be fed in between."""
    flash.forget_sleep_memory()
    yield from _remove(base + _DATA)
    for path in (layout.SECRET, layout.EVIDENCE):
        for ending in ("", layout.TMP):
            _remove_file(base + path + ending)
    yield
    yield from _turn(base + _TURN)
    yield from _fill(base + _FILL)


def _remove(path: str):
    """A folder with all that is in it; nothing when there is none."""
    try:
        names = os.listdir(path)
    except OSError:
        return
    for name in names:
        full = path + "/" + name
        if os.stat(full)[0] & _FOLDER:
            yield from _remove(full)
        else:
            os.remove(full)
        yield
    os.rmdir(path)


def _remove_file(path: str) -> None:
    try:
        os.remove(path)
    except OSError:
        pass


def _turn(path: str):
    """Write so much into the loader's folder that both its blocks have been erased."""
    for number in range(_TURNS):
        with open(path, "wb") as file:
            file.write(bytes((number & 0xFF,)) * _TURN_BYTES)
        if number % _STEP == 0:
            yield
    os.remove(path)


def _fill(path: str):
    """Write a file until every free block has been taken, then remove it."""
    chunk = bytes(_CHUNK)
    count = 0
    file = open(path, "wb")  # noqa: SIM115  it is to end with an error
    try:
        while True:
            file.write(chunk)
            count += 1
            if count % _STEP == 0:
                yield
    except OSError as error:
        if error.errno != _ENOSPC:  # which was the point
            raise
    finally:
        try:
            file.close()
        except OSError:
            pass
        _remove_file(path)
        gc.collect()


# --- after a power cut


def finish(boot) -> None:
    """Go on with a wipe that was cut short; then reset. Called while MARK is there."""
    print("outpost: a wipe was interrupted; going on with it")
    for _ in erased():
        if boot.watchdog is not None:
            boot.watchdog.feed()
    os.rename(MARK, RECEIPT)
    print("outpost: wiped")
    boot.plan_reset("wipe")
    boot.reset()
