"""mem8, mem16, mem32: the few registers that firmware reads to tell one reset from another, and
the one that pauses the watchdog.
"""

from . import layout, power, shared

_WATCHDOG = 0x40058000
_REASON = _WATCHDOG + 0x08
_SCRATCH = _WATCHDOG + 0x0C
_CTRL_CLEAR = _WATCHDOG + 0x3000  # what is written here is cleared in CTRL
_ENABLE = 1 << 30


class _Registers:
    def __getitem__(self, address):
        if power.board["port"] == "rp2":
            if address == _REASON:
                return shared.S.chip_wdt_reason
            at = _scratch_at(address)
            if at:
                raw = shared.RAW
                return raw[at] | raw[at + 1] << 8 | raw[at + 2] << 16 | raw[at + 3] << 24
        raise ValueError("register 0x%08x is not simulated" % address)

    def __setitem__(self, address, value):
        rp2 = power.board["port"] == "rp2"
        if rp2 and (address, value) == (_CTRL_CLEAR, _ENABLE):
            power.pause_watchdog()
            return
        at = _scratch_at(address) if rp2 else 0
        if not at:
            raise ValueError("register 0x%08x is not simulated" % address)
        for index in range(4):
            shared.RAW[at + index] = value >> 8 * index & 0xFF


def _scratch_at(address):
    index = (address - _SCRATCH) // 4
    return layout.SCRATCH_AT + 4 * index if 0 <= index < 8 and not address & 3 else 0


mem32 = _Registers()
mem16 = mem32
mem8 = mem32
