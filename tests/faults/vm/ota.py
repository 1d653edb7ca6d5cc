"""Two application partitions and `otadata`, behind the filesystem on the same NOR part, so that
one count numbers every operation of the device: ESP-IDF's bootloader with rollback (the rules are
those of outpost.sim.chip.ota) and the `esp32.Partition` of MicroPython.

An image here is a build name, filling, and at its end the SHA-256 of what is before it; the
bootloader starts nothing else.
"""

import hashlib
import struct

CHUNKS = 7  # of a partition
IMAGE_BYTES = 6 * 4096 + 1000
_NEW, _PENDING, _VALID, _INVALID, _ABORTED = range(5)
_ENTRY = "<III"  # sequence, state, check


class Ota:
    """`attach` to the flash of each boot, then `boot`."""

    def __init__(self, blocks):
        self._slots = (blocks, blocks + CHUNKS)
        self._otadata = blocks + 2 * CHUNKS
        self.extra_blocks = 2 * CHUNKS + 2
        self._flash = None
        self.running = 0

    def attach(self, flash):
        self._flash = flash

    # --- the bootloader

    def boot(self):
        """Choose the partition that runs; the build in it."""
        for sector in (0, 1):
            entry = self._read(sector)
            if entry and entry[1] == _PENDING:
                self._write(sector, entry[0], _ABORTED)
        self.running = self._choose()
        return self.build(self.running)

    def _choose(self):
        for sector in self._by_sequence():
            sequence, state = self._read(sector)
            slot = (sequence - 1) % 2
            if state in (_INVALID, _ABORTED) or self.build(slot) is None:
                continue
            if state == _NEW:
                self._write(sector, sequence, _PENDING)
            return slot
        return 0

    def build(self, slot):
        """The build of the image in a partition, None when it is not bootable."""
        image = self._image(slot)
        if hashlib.sha256(image[:-32]).digest() != image[-32:]:
            return None
        return image[:16].rstrip(b"\0").decode()

    def _image(self, slot):
        image = bytearray(CHUNKS * 4096)
        self._flash.readblocks(self._slots[slot], image)
        return bytes(image[:IMAGE_BYTES])

    def _by_sequence(self):
        found = [(self._read(sector)[0], sector) for sector in (0, 1) if self._read(sector)]
        return [sector for _, sector in sorted(found, reverse=True)]

    def _read(self, sector):
        raw = bytearray(12)
        self._flash.readblocks(self._otadata + sector, raw)
        sequence, state, check = struct.unpack(_ENTRY, raw)
        return None if check != sequence ^ 0x5A5A5A5A or not sequence else (sequence, state)

    def _write(self, sector, sequence, state):
        # one program: what is torn has no check, and is no entry
        raw = struct.pack(_ENTRY, sequence, state, sequence ^ 0x5A5A5A5A)
        self._flash.ioctl(6, self._otadata + sector)
        page = raw + b"\xff" * (self._flash.prog - len(raw))
        self._flash.writeblocks(self._otadata + sector, page, 0)

    # --- esp32.Partition

    def set_boot(self, slot):
        if self.build(slot) is None:
            raise OSError(-5379)
        order = self._by_sequence()
        last = self._read(order[0])[0] if order else 0
        sequence = last + 1
        while (sequence - 1) % 2 != slot:
            sequence += 1
        self._write(1 - order[0] if order else 0, sequence, _NEW)

    def mark_valid(self):
        order = self._by_sequence()
        if order:
            sequence, state = self._read(order[0])
            if state == _PENDING and (sequence - 1) % 2 == self.running:
                self._write(order[0], sequence, _VALID)

    def read(self, slot, chunk, buf):
        self._flash.readblocks(self._slots[slot] + chunk, buf)

    def write(self, slot, chunk, buf):
        self._flash.ioctl(6, self._slots[slot] + chunk)
        self._flash.writeblocks(self._slots[slot] + chunk, buf, 0)

    def manufacture(self, image):
        """The factory's runtime in the first partition."""
        for chunk in range(CHUNKS):
            part = image[chunk * 4096 : chunk * 4096 + 4096]
            self.write(0, chunk, part + b"\xff" * (4096 - len(part)))


def module(ota):
    """What `import esp32` gives."""

    class Partition:
        RUNNING = 1

        def __init__(self, which):
            self._slot = ota.running if which == Partition.RUNNING else which - 10

        def get_next_update(self):
            return Partition(10 + 1 - self._slot)

        def set_boot(self):
            ota.set_boot(self._slot)

        def readblocks(self, chunk, buf):
            ota.read(self._slot, chunk, buf)

        def writeblocks(self, chunk, buf):
            ota.write(self._slot, chunk, buf)

        @staticmethod
        def mark_app_valid_cancel_rollback():
            ota.mark_valid()

    class Module:
        pass

    found = Module()
    found.Partition = Partition
    return found
