"""Model of a Rohm BH1750FVI (technical note Rev. D).

World: illuminance_mlx (milli lx). Single measurements in H- (120 ms) and L-resolution (16 ms).
"""

from ..bus import FAULT_STUCK, I2cPart

_MEASURE_MS = {0x20: 120, 0x21: 120, 0x23: 16}


class Part(I2cPart):
    address = 0x23

    def __init__(self, surroundings, config):
        I2cPart.__init__(self, surroundings, config)
        self._powered = False
        self._data = 0
        self._done_at = None

    def write(self, data):
        code = data[0]
        if code in (0, 1):
            self._powered = code == 1
        elif code == 7 and self._powered:  # "not acceptable in power down mode"
            self._data = 0
        elif code in _MEASURE_MS:
            self._done_at = self.now_ms() + _MEASURE_MS[code]

    def read(self, size):
        done = self._done_at is not None and self.now_ms() >= self._done_at
        if done and self.fault != FAULT_STUCK:
            self._done_at = None
            self._powered = False  # a single measurement ends in power down
            self._data = min(65535, self.world("illuminance_mlx", 500000) * 12 // 10000)
        return bytes((self._data >> 8, self._data & 0xFF))[:size]
