"""Model of a Sensirion SHT3x-DIS (data sheet version 7): single shots, soft reset, status.

World: temperature_mc (milli Cel), humidity_milli (milli %RH). Durations of table 4.
"""

from ..bus import FAULT_IMPLAUSIBLE, Nak
from .sensirion import SensirionPart, ticks

_SINGLE_MS = {0x2400: 15, 0x240B: 6, 0x2416: 4}


class Part(SensirionPart):
    address = 0x44

    def write(self, data):
        code = data[0] << 8 | data[1]
        if code in _SINGLE_MS:
            self._later(self._measured, _SINGLE_MS[code])
        elif code == 0xF32D:
            self._later((0x8010,), 0)
        elif code == 0x30A2:
            self._answer = None
        else:
            raise Nak(self.address)

    def general_call(self, data):
        if data[:1] == b"\x06":
            self._answer = None

    def _measured(self):
        if self.fault == FAULT_IMPLAUSIBLE:
            return 0xFFFF, 0xFFFF
        celsius = ticks(self.world("temperature_mc", 21000), -45000, 175000)
        return celsius, ticks(self.world("humidity_milli", 45000), 0, 100000)
