"""`esp32`: partitions with the bootloader's OTA rules, NVS, wake sources, heap figures."""

import gc

from . import layout, ota, power, shared  # noqa: F401
from .nvs import NVS  # noqa: F401

WAKEUP_ALL_LOW = 0
WAKEUP_ANY_HIGH = 1
HEAP_DATA = 4
HEAP_EXEC = 2
_IDF_HEAP_BYTES = 165000


def wake_on_ext0(pin, level):
    shared.S.wake_pin = pin.id + 1 if pin else 0
    shared.S.wake_level = level


def wake_on_ext1(pins, level):
    pass


def wake_on_touch(on):
    pass


def wake_on_ulp(on):
    pass


def gpio_deep_sleep_hold(on):
    pass


def idf_heap_info(kind):
    # What the chip's stand-ins take of this VM's heap is not on a chip.
    used = (gc.mem_alloc() - shared.own_heap) // power.board["heap_scale"]
    total = _IDF_HEAP_BYTES + max(0, power.board.get("heap_extra", 0))
    free = max(0, total - used)
    return [(total, free, free * 2 // 3, free)]


def raw_temperature():
    return 128


class Partition:
    BOOT = 0
    RUNNING = 1
    TYPE_APP = 0
    TYPE_DATA = 1

    def __init__(self, id, block_size=4096):
        if id == Partition.BOOT:
            self._entry = ota.boot_slot()
        elif id == Partition.RUNNING:
            self._entry = ota.running
        else:
            self._entry = ota.find(lambda entry: entry.name == id)[:1]
            if not self._entry:
                raise OSError(2)
            self._entry = self._entry[0]
        self._block_size = block_size

    @staticmethod
    def find(type=0, subtype=0xFF, label=None, block_size=4096):
        def fits(entry):
            return (
                entry.type == type
                and subtype in (0xFF, entry.subtype)
                and label in (None, entry.name)
            )

        return [Partition(entry.name, block_size) for entry in ota.find(fits)]

    @staticmethod
    def mark_app_valid_cancel_rollback():
        ota.mark_valid()

    def info(self):
        entry = self._entry
        return (entry.type, entry.subtype, entry.offset, entry.size, entry.name, False)

    def readblocks(self, block_num, buf, offset=0):
        return self._entry.flash.readblocks(block_num, buf, offset)

    def writeblocks(self, block_num, buf, offset=None):
        return self._entry.flash.writeblocks(block_num, buf, offset)

    def ioctl(self, request, argument):
        return self._entry.flash.ioctl(request, argument)

    def set_boot(self):
        ota.set_boot(self._entry)

    def get_next_update(self):
        return Partition(ota.next_update().name)
