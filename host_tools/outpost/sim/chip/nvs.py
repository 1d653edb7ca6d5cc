"""NVS: small values by namespace and key, in their own partition, over the same flash rules.

A log of entries in one half of the partition; a full half is compacted into the other, which
becomes current when its header is written last.  (The bytes are this simulation's own; what is
ESP-IDF's is the interface, its errors, and that a set is on flash when it returns.)
"""

import binascii
import struct

from . import ota

_NOT_FOUND = (-4354, "ESP_ERR_NVS_NOT_FOUND")
_NO_ROOM = (-4357, "ESP_ERR_NVS_NOT_ENOUGH_SPACE")
_LONG_KEY = (-4361, "ESP_ERR_NVS_KEY_TOO_LONG")
_BAD_LENGTH = (-4364, "ESP_ERR_NVS_INVALID_LENGTH")
_I32, _BLOB, _ERASED = 1, 2, 3
_HEAD = "<BBBBHI"  # mark, kind, namespace length, key length, value length, CRC of what follows
_HEAD_BYTES = 10
_MARK = 0xA5
_MAGIC = 0x4E565331
_FIRST = 16


class _Store:
    def __init__(self):
        self.flash = ota.find(lambda entry: entry.name == "nvs")[0].flash
        self.half_bytes = self.flash.size // 2 // self.flash.block * self.flash.block
        self.load()

    def load(self):
        """Read the half with the higher generation; blank halves make generation 0."""
        ages = [self._age(half) for half in range(2)]
        self.half = 1 if ages[1] > ages[0] else 0
        self.age = ages[self.half]
        self.values = {}
        self.end = _FIRST
        if self.age < 0:
            self._begin(0, 0, {})
            return
        while self._read_entry():
            pass

    def put(self, kind, namespace, key, value):
        entry = _pack(kind, namespace, key, value)
        if self.end + len(entry) > self.half_bytes:
            self._begin(1 - self.half, self.age + 1, self.values)
            if self.end + len(entry) > self.half_bytes:
                raise OSError(*_NO_ROOM)
        self._program(self.half, self.end, entry)
        self.end += len(entry)
        self._remember(kind, namespace, key, value)

    def _remember(self, kind, namespace, key, value):
        if kind == _ERASED:
            self.values.pop((namespace, key), None)
        else:
            self.values[(namespace, key)] = (kind, value)

    def _begin(self, half, age, values):
        """Fill a half with `values`; its header comes last, so a torn compaction never counts."""
        for block in range(self.half_bytes // self.flash.block):
            self.flash.erase(half * self.half_bytes // self.flash.block + block)
        end = _FIRST
        for (namespace, key), (kind, value) in values.items():
            entry = _pack(kind, namespace, key, value)
            self._program(half, end, entry)
            end += len(entry)
        self._program(half, 0, struct.pack("<II", _MAGIC, age))
        self.half, self.age, self.end = half, age, end

    def _age(self, half):
        raw = bytearray(8)
        self._read(half, 0, raw)
        magic, age = struct.unpack("<II", raw)
        return age if magic == _MAGIC else -1

    def _read_entry(self):
        head = bytearray(_HEAD_BYTES)
        if self.end + _HEAD_BYTES > self.half_bytes:
            return False
        self._read(self.half, self.end, head)
        mark, kind, namespace_size, key_size, size, crc = struct.unpack(_HEAD, head)
        if mark != _MARK:
            return False
        body = bytearray(namespace_size + key_size + size)
        self._read(self.half, self.end + _HEAD_BYTES, body)
        self.end += _HEAD_BYTES + len(body)
        if binascii.crc32(body) & 0xFFFFFFFF == crc:  # a torn entry is skipped
            namespace = bytes(body[:namespace_size]).decode()
            key = bytes(body[namespace_size : namespace_size + key_size]).decode()
            self._remember(kind, namespace, key, bytes(body[namespace_size + key_size :]))
        return True

    def _read(self, half, at, buf):
        at += half * self.half_bytes
        self.flash.readblocks(at // self.flash.block, buf, at % self.flash.block)

    def _program(self, half, at, data):
        self.flash.program(half * self.half_bytes + at, data, len(data))


def _pack(kind, namespace, key, value):
    body = namespace.encode() + key.encode() + value
    crc = binascii.crc32(body) & 0xFFFFFFFF
    return struct.pack(_HEAD, _MARK, kind, len(namespace), len(key), len(value), crc) + body


_store = None


def _open():
    global _store
    if _store is None:
        _store = _Store()
    return _store


class NVS:
    def __init__(self, namespace):
        if len(namespace) > 15:
            raise OSError(*_LONG_KEY)
        self._namespace = namespace
        self._store = _open()

    def set_i32(self, key, value):
        self._put(_I32, key, struct.pack("<i", value))

    def get_i32(self, key):
        return struct.unpack("<i", self._get(_I32, key))[0]

    def set_blob(self, key, value):
        self._put(_BLOB, key, bytes(value))

    def get_blob(self, key, buf):
        value = self._get(_BLOB, key)
        if len(value) > len(buf):
            raise OSError(*_BAD_LENGTH)
        buf[: len(value)] = value
        return len(value)

    def erase_key(self, key):
        if (self._namespace, key) not in self._store.values:
            raise OSError(*_NOT_FOUND)
        self._put(_ERASED, key, b"")

    def commit(self):
        pass

    def _put(self, kind, key, value):
        if len(key) > 15:
            raise OSError(*_LONG_KEY)
        self._store.put(kind, self._namespace, key, value)

    def _get(self, kind, key):
        found = self._store.values.get((self._namespace, key))
        if found is None or found[0] != kind:
            raise OSError(*_NOT_FOUND)
        return found[1]
