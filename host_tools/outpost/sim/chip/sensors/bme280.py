"""Model of a Bosch BME280 (BST-BME280-DS002 revision 1.6), or of a BMP280 by `variant`.

World: temperature_mc (milli Cel), humidity_milli (milli %RH), pressure_pa. The conversion inverts
the data sheet's floating-point formulas (section 8.1), not the driver's integer ones, by
bisection. Trimming values are those of the BMP280 data sheet's worked example (BST-BMP280-DS001,
section 3.12) and a real part's for humidity.
"""

from struct import pack

from ..bus import FAULT_IMPLAUSIBLE, FAULT_STUCK, I2cPart

T = (27504, 26435, -1000)
P = (36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000)
H = (75, 362, 0, 321, 50, 30)
_MEASURE_MS = 10  # section 9.1


def t_fine(raw):
    var1 = (raw / 16384.0 - T[0] / 1024.0) * T[1]
    var2 = raw / 131072.0 - T[0] / 8192.0
    return var1 + var2 * var2 * T[2]


def celsius(raw):
    return t_fine(raw) / 5120.0


def pascal(raw, fine):
    var1 = fine / 2.0 - 64000.0
    var2 = var1 * var1 * P[5] / 32768.0 + var1 * P[4] * 2.0
    var2 = var2 / 4.0 + P[3] * 65536.0
    var1 = (P[2] * var1 * var1 / 524288.0 + P[1] * var1) / 524288.0
    var1 = (1.0 + var1 / 32768.0) * P[0]
    p = (1048576.0 - raw - var2 / 4096.0) * 6250.0 / var1
    return p + (P[8] * p * p / 2147483648.0 + p * P[7] / 32768.0 + P[6]) / 16.0


def relative_humidity(raw, fine):
    h = fine - 76800.0
    left = raw - (H[3] * 64.0 + H[4] / 16384.0 * h)
    right = 1.0 + H[2] / 67108864.0 * h
    h = left * (H[1] / 65536.0 * (1.0 + H[5] / 67108864.0 * h * right))
    return max(0.0, min(100.0, h * (1.0 - H[0] * h / 524288.0)))


def _find(function, wanted, bits, falling=False):
    """The raw value whose conversion is nearest below `wanted`."""
    raw = 0
    for bit in range(bits - 1, -1, -1):
        trial = raw | 1 << bit
        value = function(trial)
        if value > wanted if falling else value <= wanted:
            raw = trial
    return raw


class Part(I2cPart):
    address = 0x76

    def __init__(self, surroundings, config):
        I2cPart.__init__(self, surroundings, config)
        self._bmp = config.get("variant") == "bmp280"
        self._ready_at = None
        self._pointer = 0
        self._power_on()

    def _power_on(self):
        self._registers = bytearray(256)
        self._registers[0xD0] = 0x58 if self._bmp else 0x60
        low = pack("<Hhh", *T) + pack("<Hhhhhhhhh", *P) + bytes((0, H[0]))
        self._registers[0x88:0xA2] = low
        if not self._bmp:
            mixed = bytes((H[3] >> 4 & 0xFF, H[3] & 15 | (H[4] & 15) << 4, H[4] >> 4 & 0xFF, H[5]))
            self._registers[0xE1:0xE8] = pack("<hB", H[1], H[2]) + mixed
        self._registers[0xF7:0xFF] = b"\x80\0\0\x80\0\0\x80\0"
        self._ready_at = None

    def write(self, data):
        self._pointer = data[0]
        for at in range(1, len(data), 2):
            register, value = data[at - 1], data[at]
            if register == 0xE0 and value == 0xB6:
                self._power_on()
                return
            self._registers[register] = value
            if register == 0xF4 and value & 3 in (1, 2):
                self._ready_at = self.now_ms() + _MEASURE_MS

    def read(self, size):
        self._finish()
        self._registers[0xF3] = 8 if self._ready_at is not None else 0
        out = bytes(self._registers[self._pointer : self._pointer + size])
        self._pointer += size
        return out

    def _finish(self):
        if self._ready_at is None or self.now_ms() < self._ready_at or self.fault == FAULT_STUCK:
            return
        self._ready_at = None
        self._registers[0xF4] &= 0xFC  # back to sleep
        t, p, h = self._convert()
        if self.fault == FAULT_IMPLAUSIBLE:
            t = p = 0xFFFFF
        hum = h if self._registers[0xF2] & 7 and not self._bmp else 0x8000
        for at, raw in ((0xF7, p), (0xFA, t)):
            self._registers[at] = raw >> 12
            self._registers[at + 1] = raw >> 4 & 0xFF
            self._registers[at + 2] = raw << 4 & 0xF0
        self._registers[0xFD] = hum >> 8
        self._registers[0xFE] = hum & 0xFF

    def _convert(self):
        t = _find(celsius, self.world("temperature_mc", 21000) / 1000.0, 20)
        fine = t_fine(t)
        wanted = float(self.world("pressure_pa", 101325))
        p = _find(lambda raw: pascal(raw, fine), wanted, 20, True)
        wanted = self.world("humidity_milli", 45000) / 1000.0
        h = _find(lambda raw: relative_humidity(raw, fine), wanted, 16)
        return t, p, h
