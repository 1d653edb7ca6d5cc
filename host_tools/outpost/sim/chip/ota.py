"""The partition table and what the second-stage bootloader does with `otadata`.

ESP-IDF 5.2, components/bootloader_support and app_update, rollback enabled: `otadata` is two
sectors of one select entry each (sequence, label, state, CRC of the sequence); the highest valid
sequence boots.  A NEW entry becomes PENDING_VERIFY when it boots; found PENDING_VERIFY at the next
boot it becomes ABORTED and the other slot boots.  A wake from deep sleep boots what ran before,
without looking (BOOTLOADER_SKIP_VALIDATE_IN_DEEP_SLEEP).  An app is bootable when its image
header, segments, checksum byte and appended SHA-256 agree.
"""

import binascii
import hashlib
import struct

import uctypes

from . import flash, libc, power, shared

_NEW, _PENDING, _VALID, _INVALID, _ABORTED = range(5)
_UNDEFINED = 0xFFFFFFFF
_ENTRY = "<I20sII"
_SECTOR = 4096
_DEEPSLEEP_RESET = 4
_VALIDATE_FAILED = -5379
_NOT_SUPPORTED = -261
_OTA_SUBTYPE = 0x10
_VERSION_BYTES = 128
_VERSION_MARK = b"; MicroPython v"

running = None
_table = []


class Entry:
    def __init__(self, told, part):
        self.name = told["name"]
        self.type = 0 if told["kind"] == "app" else 1
        self.subtype = told["subtype"]
        self.offset = told["offset"]
        self.size = told["bytes"]
        self.flash = part


def power_up(filesystem):
    """Map every partition; the file system's own device is shared with the VFS."""
    for told in power.board["partitions"]:
        own = told["name"] == "vfs"
        part = filesystem if own else flash.Nor(told["path"], told["bytes"], _SECTOR, 1)
        _table.append(Entry(told, part))


def find(fits):
    return [entry for entry in _table if fits(entry)]


def _named(name):
    found = find(lambda entry: entry.name == name)
    return found[0] if found else None


def boot():
    """The bootloader: choose the slot that runs, and move its state on."""
    global running
    slots = _slots()
    if not slots:
        running = _named("factory")
        return
    if shared.S.reset_cause == _DEEPSLEEP_RESET and shared.S.ota_boot:
        running = slots[shared.S.ota_boot - 1]
        return
    for sector in range(2):
        entry = _read(sector)
        if entry and entry[2] == _PENDING:
            _write(sector, entry[0], _ABORTED)
    running = _choose(slots)
    shared.S.ota_boot = slots.index(running) + 1


def _choose(slots):
    for sector in _by_sequence():
        sequence, _, state = _read(sector)
        slot = slots[(sequence - 1) % len(slots)]
        if state in (_INVALID, _ABORTED) or not bootable(slot):
            continue
        if state == _NEW:
            _write(sector, sequence, _PENDING)
        return slot
    return slots[0]


def _slots():
    found = find(lambda e: e.type == 0 and e.subtype & 0xF0 == _OTA_SUBTYPE)
    return sorted(found, key=lambda entry: entry.subtype)


def _by_sequence():
    found = [(_read(sector)[0], sector) for sector in range(2) if _read(sector)]
    return [sector for _, sector in sorted(found, reverse=True)]


def _read(sector):
    """-> (sequence, label, state), or None where the entry is blank or torn."""
    raw = bytearray(32)
    _named("otadata").flash.readblocks(sector, raw)
    sequence, label, state, crc = struct.unpack(_ENTRY, raw)
    if sequence == _UNDEFINED or crc != _crc(sequence):
        return None
    return sequence, label, state


def _crc(sequence):
    """esp_rom_crc32_le(UINT32_MAX, ...): zlib's CRC-32 continued from an inverted start."""
    return binascii.crc32(struct.pack("<I", sequence), 0xFFFFFFFF) & 0xFFFFFFFF


def _write(sector, sequence, state):
    part = _named("otadata").flash
    part.erase(sector)
    raw = struct.pack(_ENTRY, sequence, b"\xff" * 20, state, _crc(sequence))
    part.program(sector * _SECTOR, raw, len(raw))


def boot_slot():
    """The slot that the next cold boot would choose."""
    slots = _slots()
    if not slots:
        return running
    for sector in _by_sequence():
        sequence, _, state = _read(sector)
        if state not in (_INVALID, _ABORTED):
            return slots[(sequence - 1) % len(slots)]
    return slots[0]


def next_update():
    slots = _slots()
    if not slots:
        raise OSError(_NOT_SUPPORTED, "ESP_ERR_NOT_SUPPORTED")
    at = slots.index(running) if running in slots else -1
    return slots[(at + 1) % len(slots)]


def set_boot(entry):
    slots = _slots()
    if entry not in slots:
        raise OSError(_NOT_SUPPORTED, "ESP_ERR_NOT_SUPPORTED")
    if not bootable(entry):
        raise OSError(_VALIDATE_FAILED, "ESP_ERR_OTA_VALIDATE_FAILED")
    order = _by_sequence()
    last = _read(order[0])[0] if order else 0
    sequence = last + 1
    while (sequence - 1) % len(slots) != slots.index(entry):
        sequence += 1
    _write(1 - order[0] if order else 0, sequence, _NEW)


def mark_valid():
    slots = _slots()
    for sector in _by_sequence():
        sequence, _, state = _read(sector)
        if slots[(sequence - 1) % len(slots)] is running:
            if state == _PENDING:
                _write(sector, sequence, _VALID)
            return


def bootable(entry):
    """Header magic, segments, XOR checksum, appended SHA-256 (esp_image_format.h)."""
    image = memoryview(uctypes.bytearray_at(entry.flash.address, entry.size))
    if image[0] != 0xE9 or not 0 < image[1] <= 16:
        return False
    at = 24
    for _ in range(image[1]):
        if at + 8 > entry.size:
            return False
        at += 8 + struct.unpack_from("<I", image, at + 4)[0]
    at = (at + 16) // 16 * 16  # one checksum byte, padded
    if at + 32 > entry.size:
        return False
    if not image[23]:
        return True
    return hashlib.sha256(image[:at]).digest() == bytes(image[at : at + 32])


def version():
    """sys.version of the running image, a string in it; "" where there is none."""
    if running is None:
        return ""
    first = running.flash.address
    # By the C library: every boot asks, and a loop over a megabyte took half of a wake.
    mark = libc.memmem(first, running.size, _VERSION_MARK, len(_VERSION_MARK))
    if not mark:
        return ""
    begin = max(first, mark - _VERSION_BYTES)
    end = min(first + running.size, mark + _VERSION_BYTES)
    around = bytes(uctypes.bytearray_at(begin, end - begin))
    start = around.rfind(b"\0", 0, mark - begin) + 1
    return around[start : around.find(b"\0", mark - begin)].decode()
