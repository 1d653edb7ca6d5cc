"""Model of a Bosch BME680 (BST-BME680-DS001 revision 1.0), or of a BME688's id by `variant`.

World: temperature_mc (milli Cel), humidity_milli (milli %RH), pressure_pa, gas_ohm, heater_fails
(1: the plate never gets hot). Registers are found by bisecting the data sheet's floating-point
formulas (section 3.3), not the driver's integer ones. The trimming values are plausible, of no
particular part.
"""

from struct import pack

from ..bus import FAULT_IMPLAUSIBLE, FAULT_STUCK, I2cPart

T = (26203, 26471, 3)
P = (36673, -10354, 88, 7027, -93, 30, 49, -2549, -2415, 30)
H = (778, 1020, 0, 45, 20, 120, -100)
G = (-56, -5969, 18)
HEAT_RANGE, HEAT_VALUE, SWITCHING_ERROR = 1, 46, 1
_K1 = (0, 0, 0, 0, 0, -1, 0, -0.8, 0, 0, -0.2, -0.5, 0, -1, 0, 0)
_K2 = (0, 0, 0, 0, 0.1, 0.7, 0, -0.8, -0.1, 0, 0, 0, 0, 0, 0, 0)
_OVERSAMPLING = (0, 1, 2, 4, 8, 16, 16, 16)


def t_fine(raw):
    var1 = (raw / 16384.0 - T[0] / 1024.0) * T[1]
    var2 = raw / 131072.0 - T[0] / 8192.0
    return var1 + var2 * var2 * T[2] * 16.0


def celsius(raw):
    return t_fine(raw) / 5120.0


def pascal(raw, fine):
    var1 = fine / 2.0 - 64000.0
    var2 = var1 * var1 * P[5] / 131072.0 + var1 * P[4] * 2.0
    var2 = var2 / 4.0 + P[3] * 65536.0
    var1 = (P[2] * var1 * var1 / 16384.0 + P[1] * var1) / 524288.0
    var1 = (1.0 + var1 / 32768.0) * P[0]
    p = (1048576.0 - raw - var2 / 4096.0) * 6250.0 / var1
    cube = (p / 256.0) * (p / 256.0) * (p / 256.0) * (P[9] / 131072.0)
    return p + (P[8] * p * p / 2147483648.0 + p * (P[7] / 32768.0) + cube + P[6] * 128.0) / 16.0


def relative_humidity(raw, fine):
    t = fine / 5120.0
    var1 = raw - (H[0] * 16.0 + H[2] / 2.0 * t)
    var2 = var1 * (H[1] / 262144.0 * (1.0 + H[3] / 16384.0 * t + H[4] / 1048576.0 * t * t))
    humidity = var2 + (H[5] / 16384.0 + H[6] / 2097152.0 * t) * var2 * var2
    return max(0.0, min(100.0, humidity))


def ohm(raw, gas_range):
    var2 = (1340.0 + 5.0 * SWITCHING_ERROR) * (1.0 + _K1[gas_range] / 100.0)
    var3 = 1.0 + _K2[gas_range] / 100.0
    return 1.0 / (var3 * 0.000000125 * (1 << gas_range) * ((raw - 512.0) / var2 + 1.0))


def gas_registers(wanted):
    """(raw, range) nearest to `wanted`, in the range where it is nearest to the middle."""
    best = None
    for gas_range in range(16):
        var2 = (1340.0 + 5.0 * SWITCHING_ERROR) * (1.0 + _K1[gas_range] / 100.0)
        raw = round((ohm(512, gas_range) / wanted - 1.0) * var2 + 512.0)
        if best is None or abs(raw - 512) < abs(best[0] - 512):
            best = (raw, gas_range)
    return max(0, min(1023, best[0])), best[1]


def heater_target(res_heat, ambient_c):
    """The temperature that a res_heat_x stands for: section 3.3.5's formula solved for it."""
    var1 = G[0] / 16.0 + 49.0
    var2 = G[1] / 32768.0 * 0.0005 + 0.00235
    var5 = (res_heat / 3.4 + 25.0) * (4.0 + HEAT_RANGE) / 4.0 * (1.0 + HEAT_VALUE * 0.002)
    return ((var5 - G[2] / 1024.0 * ambient_c) / var1 - 1.0) / var2


def _find(function, wanted, bits, falling=False):
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
        self._pointer = 0
        self._power_on()

    def _power_on(self):
        self._registers = r = bytearray(256)
        r[0xD0] = 0x61
        r[0xF0] = 1 if self.config.get("variant") == "bme688" else 0
        r[0x8A:0x8D] = pack("<hb", T[1], T[2])
        r[0x8E:0x93] = pack("<Hhb", P[0], P[1], P[2])
        r[0x94:0x9A] = pack("<hhbb", P[3], P[4], P[6], P[5])
        r[0x9C:0xA1] = pack("<hhB", P[7], P[8], P[9])
        r[0xE1:0xE4] = bytes((H[1] >> 4, (H[1] & 15) << 4 | H[0] & 15, H[0] >> 4))
        r[0xE4:0xE9] = pack("<bbbBb", *H[2:])
        r[0xE9:0xEF] = pack("<Hhbb", T[0], G[1], G[0], G[2])
        r[0x00] = HEAT_VALUE
        r[0x02] = HEAT_RANGE << 4
        r[0x04] = SWITCHING_ERROR << 4
        r[0x1F:0x27] = b"\x80\0\0\x80\0\0\x80\0"
        self._ready_at = None

    def write(self, data):
        self._pointer = data[0]
        for at in range(1, len(data), 2):
            register, value = data[at - 1], data[at]
            if register == 0xE0 and value == 0xB6:
                self._power_on()
                return
            self._registers[register] = value
            if register == 0x74 and value & 3 == 1:
                self._registers[0x1D] = 0x20
                self._ready_at = self.now_ms() + self._duration_ms()

    def _duration_ms(self):
        r = self._registers
        cycles = _OVERSAMPLING[r[0x72] & 7] + _OVERSAMPLING[r[0x74] >> 5]
        cycles += _OVERSAMPLING[r[0x74] >> 2 & 7]
        wait = r[0x64]
        heater_ms = (wait & 63) << 2 * (wait >> 6) if r[0x71] & 0x10 else 0
        return (cycles * 1963 + 477 * 9 + 1000) // 1000 + heater_ms

    def read(self, size):
        self._finish()
        out = bytes(self._registers[self._pointer : self._pointer + size])
        self._pointer += size
        return out

    def _finish(self):
        if self._ready_at is None or self.now_ms() < self._ready_at or self.fault == FAULT_STUCK:
            return
        self._ready_at = None
        r = self._registers
        r[0x74] &= 0xFC
        r[0x1D] = 0x80
        t = _find(celsius, self.world("temperature_mc", 21000) / 1000.0, 20)
        fine = t_fine(t)
        pa = float(self.world("pressure_pa", 101325))
        p = _find(lambda raw: pascal(raw, fine), pa, 20, True)
        wanted = self.world("humidity_milli", 45000) / 1000.0
        h = _find(lambda raw: relative_humidity(raw, fine), wanted, 16)
        if self.fault == FAULT_IMPLAUSIBLE:
            t = p = 0xFFFFF
        for at, raw in ((0x1F, p), (0x22, t)):
            r[at : at + 3] = bytes((raw >> 12, raw >> 4 & 0xFF, raw << 4 & 0xF0))
        r[0x25:0x27] = bytes((h >> 8, h & 0xFF))
        self._gas(celsius(t))

    def _gas(self, ambient_c):
        r = self._registers
        if not r[0x71] & 0x10:
            r[0x2A:0x2C] = b"\0\0"
            return
        raw, gas_range = gas_registers(float(self.world("gas_ohm", 50000)))
        hot = heater_target(r[0x5A], ambient_c) > 190 and not self.world("heater_fails", 0)
        r[0x2A] = raw >> 2
        r[0x2B] = (raw & 3) << 6 | 0x20 | (0x10 if hot else 0) | gas_range
