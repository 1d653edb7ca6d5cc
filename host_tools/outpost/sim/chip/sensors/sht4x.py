"""Model of a Sensirion SHT4x (data sheet version 6.6): measurements, serial number, reset.

World: temperature_mc (milli Cel), humidity_milli (milli %RH). Durations as in it.
"""

from ..bus import FAULT_IMPLAUSIBLE, Nak
from .sensirion import SensirionPart, ticks

_MEASURE_MS = {0xFD: 8, 0xF6: 4, 0xE0: 1}


class Part(SensirionPart):
    address = 0x44

    def write(self, data):
        code = data[0]
        if len(data) != 1:
            raise Nak(self.address)
        if code in _MEASURE_MS:
            self._later(self._measured, _MEASURE_MS[code])
        elif code == 0x89:
            self._later((0x0F1E, 0x2D3C), 1)
        elif code == 0x94:
            self._answer = None
        else:
            raise Nak(self.address)

    def _measured(self):
        if self.fault == FAULT_IMPLAUSIBLE:
            return 0xFFFF, 0xFFFF
        celsius = ticks(self.world("temperature_mc", 21000), -45000, 175000)
        return celsius, ticks(self.world("humidity_milli", 45000), -6000, 125000)
