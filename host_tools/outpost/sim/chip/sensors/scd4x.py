"""Model of a Sensirion SCD4x. World: co2_ppm, temperature_mc, humidity_milli.

While it measures it refuses every command but read, data ready and stop (data sheet section 3.4).
"""

from ..bus import FAULT_IMPLAUSIBLE, FAULT_STUCK, Nak
from .sensirion import SensirionPart, crc, ticks

_PERIODS = {0x21B1: 5000, 0x21AC: 30000}


class Part(SensirionPart):
    address = 0x62

    def __init__(self, surroundings, config):
        SensirionPart.__init__(self, surroundings, config)
        self._period = 0
        self._began = 0
        self._taken = 0
        self._status = None

    def _measured(self):
        if not self._period or self.fault == FAULT_STUCK:
            return 0
        return (self.now_ms() - self._began) // self._period

    def write(self, data):
        code = data[0] << 8 | data[1]
        self._status = None
        if code in _PERIODS:
            if self._period:
                raise Nak(self.address)
            self._period = _PERIODS[code]
            self._began = self.now_ms()
            self._taken = 0
        elif code == 0x3F86:
            self._period = 0
        elif code == 0xE4B8:
            self._status = 0x8006 if self._measured() > self._taken else 0x8000
        elif code == 0xEC05:
            self._read_measurement()
        else:
            raise Nak(self.address)

    def read(self, size):
        if self._status is None:
            return SensirionPart.read(self, size)
        high, low = self._status >> 8, self._status & 0xFF
        return bytes((high, low, crc(high, low)))[:size]

    def _read_measurement(self):
        if self._measured() <= self._taken:
            self._answer = None
            return
        self._taken = self._measured()
        co2 = 0 if self.fault == FAULT_IMPLAUSIBLE else self.world("co2_ppm", 620)
        temperature = ticks(self.world("temperature_mc", 21000), -45000, 175000)
        humidity = ticks(self.world("humidity_milli", 45000), 0, 100000)
        self._later((co2, temperature, humidity), 1)
