"""Bosch BME680: temperature, humidity, pressure and gas resistance over I2C.

Source: BME680 data sheet BST-BME680-DS001, revision 1.0 (July 2017): integer formulas sections
3.3.1 (temperature), 3.3.2 (pressure), 3.3.3 (humidity), 3.3.5 (heater), 3.4.1 (gas); registers
section 5.3; measurement time Bosch's own driver (1963 us per conversion, 477 us per switch). Its
only worked value is gas_wait_x 0x59 = 100 ms; conversions have none.

One forced measurement per reading, oversampling 1 (humidity), 2 (temperature), 4 (pressure), and
one heater step: options "heater_c" (320) and "heater_ms" (150). A heater that has not come to its
temperature makes the resistance `warming`. The resistance is what the part measures; an index of
air quality is not computed. A BME688 keeps its gas reading elsewhere: `wrong-part`, the rest is
good.
"""

from struct import unpack_from

from micropython import const

from node.core import quality
from node.drivers.bosch import times_3125
from node.drivers.sensor import NotReady, Sensor, SensorError, signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from node.core.config import SensorConfig

CHANNELS = (
    ("temperature", "Cel", -2),
    ("humidity", "%RH", -2),
    ("pressure", "Pa", 0),
    ("gas", "Ohm", 0),
)

_ID = const(0xD0)
_BME680 = const(0x61)
_VARIANT = const(0xF0)  # 0: BME680, 1: BME688
_TRIM_1 = const(0x89)
_TRIM_2 = const(0xE1)
_TRIM_HEATER = const(0x00)
_RES_HEAT_0 = const(0x5A)
_GAS_WAIT_0 = const(0x64)
_CTRL_GAS_1 = const(0x71)
_CTRL_HUM = const(0x72)
_CTRL_MEAS = const(0x74)
_STATUS = const(0x1D)  # and the data behind it, up to 0x2B
_RUN_GAS = const(0x10)
_FORCED = const(0x4D)  # osrs_t 2, osrs_p 4, mode 01
_NEW_DATA = const(0x80)
_GAS_VALID = const(0x20)
_HEAT_STABLE = const(0x10)
_CONVERTING_MS = const(21)  # 7 conversions, 9 switches, 1 ms to wake
_SKIPPED = const(0x80000)
_MOST_OHM = const(0x3FFFFFFF)

# Section 3.4.1: constants by gas range. The first in two halves, the second by
# 32, because 30 bits and more are objects on the heap, and a reading must not allocate.
_FULL = (32767, 65535)  # 2147483647
_GAS_1 = {
    5: (32440, 20970),  # 2126008810
    7: (32505, 56097),  # 2130303777
    10: (32702, 30407),  # 2143188679
    11: (32604, 10484),  # 2136746228
    13: (32440, 20970),  # 2126008810
}
_GAS_2 = (
    128000000,
    64000000,
    32000000,
    16000000,
    7992008,
    3972195,
    2000000,
    1008065,
    500501,
    250000,
    125000,
    62500,
    31250,
    15625,
    7813,
    3906,
)


class Trim:
    """The trimming parameters of one chip (sections 3.3.1 to 3.3.3, and 3.3.5 with table 11)."""

    def __init__(self, low: "Any", high: "Any", heater: "Any") -> None:
        """`low` from 0x89 (25 bytes), `high` from 0xE1 (16), `heater` from 0x00 (5)."""
        t2, t3 = unpack_from("<hb", low, 1)
        self.t = (unpack_from("<H", high, 8)[0], t2, t3)
        p1, p2, p3 = unpack_from("<Hhb", low, 5)
        p4, p5, p7, p6 = unpack_from("<hhbb", low, 11)
        p8, p9, p10 = unpack_from("<hhB", low, 19)
        self.p = (p1, p2, p3, p4, p5, p6, p7, p8, p9, p10)
        h1 = high[2] << 4 | high[1] & 15
        h2 = high[0] << 4 | high[1] >> 4
        self.h = (h1, h2) + unpack_from("<bbbBb", high, 3)
        gh2, gh1, gh3 = unpack_from("<hbb", high, 10)
        self.g = (gh1, gh2, gh3)
        self.heat_range = heater[2] >> 4 & 3
        self.heat_value = signed(heater[0], 8)
        self.switching_error = signed(heater[4], 8) >> 4


def _divided(value: int, divisor: int) -> int:
    """C's division, which drops the fraction: the formulas are written for it."""
    return -(-value // divisor) if value < 0 else value // divisor


def fine_temperature(trim: Trim, raw: int) -> int:
    t1, t2, t3 = trim.t
    var1 = (raw >> 3) - (t1 << 1)
    var2 = var1 * t2 >> 11
    var3 = (var1 >> 1) * (var1 >> 1) >> 12
    return var2 + (var3 * (t3 << 4) >> 14)


def celsius_hundredths(t_fine: int) -> int:
    return t_fine * 5 + 128 >> 8


def pascal(trim: Trim, raw: int, t_fine: int) -> int:
    """0 when the trimming values would divide by zero."""
    p1, p2, p3, p4, p5, p6, p7, p8, p9, p10 = trim.p
    var1 = (t_fine >> 1) - 64000
    square = (var1 >> 3) * (var1 >> 3)
    var2 = ((square >> 9) * p6 >> 2) + (var1 * p5 << 1)
    var2 = (var2 >> 2) + (p4 << 16)
    var1 = (square >> 11) * (p3 << 2) + p2 * (var1 >> 1) >> 18
    var1 = p1 + (var1 * p1 >> 15)
    if var1 == 0:
        return 0
    p = times_3125(1048576 - raw - (var2 >> 12) << 9, var1) >> 8
    var1 = p9 * ((p >> 3) * (p >> 3) >> 13) >> 12
    var2 = (p >> 2) * p8 >> 13
    var3 = ((p >> 8) * (p >> 8) * (p >> 8) >> 4) * p10 >> 13
    return p + (var1 + var2 + var3 + (p7 << 7) >> 4)


def humidity_thousandths(trim: Trim, raw: int, t_fine: int) -> int:
    """%RH * 1000, limited to 0..100 %."""
    h1, h2, h3, h4, h5, h6, h7 = trim.h
    t = celsius_hundredths(t_fine)
    var1 = raw - h1 * 16 - (_divided(t * h3, 100) >> 1)
    curve = _divided(t * _divided(t * h5, 100) >> 6, 100)
    var2 = h2 * (_divided(t * h4, 100) + curve + 16384) >> 10
    var3 = var1 * var2
    var4 = (h6 << 7) + _divided(t * h7, 100) >> 4
    var5 = (var3 >> 15) * (var3 >> 15) >> 8
    return max(0, min(100000, (var3 + var4 * (var5 >> 1) >> 10) * 1000 >> 12))


def gas_ohm(trim: Trim, raw: int, gas_range: int) -> int:
    """The division in 12 bits behind the point, four at a time: the ADC has 10."""
    high, low = _GAS_1.get(gas_range, _FULL)
    scale = 1340 + 5 * trim.switching_error
    var1 = scale * high + (scale * low >> 16)
    var2 = (raw << 15) - 16777216 + var1
    if var2 <= 0:
        return _MOST_OHM
    ratio, left = var1 // var2, var1 % var2
    for _ in range(3):
        left <<= 4
        ratio = ratio << 4 | left // var2
        left %= var2
    ohm = _GAS_2[gas_range]
    return (ohm >> 14) * ratio + ((ohm & 0x3FFF) * ratio >> 14) + 2 >> 2


def heater_resistance(trim: Trim, target_c: int, ambient_c: int) -> int:
    """res_heat_x for a temperature of the plate (section 3.3.5).

    The ambient term is scaled from the section's floating-point formula (par_g3 / 1024 * ambient,
    2560 in this scale): Bosch's integer code divides it by 1000 first, which leaves nothing.
    """
    gh1, gh2, gh3 = trim.g
    var1 = ambient_c * gh3 * 2560
    var2 = (gh1 + 784) * _divided(_divided((gh2 + 154009) * target_c * 5, 100) + 3276800, 10)
    var3 = var1 + (var2 >> 1)
    var4 = var3 // (trim.heat_range + 4)
    var5 = 131 * trim.heat_value + 65536
    hundredths = (var4 // var5 - 250) * 34
    return max(0, min(255, (hundredths + 50) // 100))


def heater_wait(wait_ms: int) -> int:
    """gas_wait_x: 6 bits of milliseconds and a factor of 1, 4, 16 or 64 (section 5.3.3.3)."""
    factor = 0
    while wait_ms > 63 and factor < 3:
        wait_ms >>= 2
        factor += 1
    return min(63, wait_ms) | factor << 6


class Driver(Sensor):
    CHANNELS = CHANNELS
    ADDRESS = 0x76

    def __init__(self, bus: "Any", config: "SensorConfig") -> None:
        Sensor.__init__(self, bus, config, 15)
        self._heater_c = max(200, min(400, config.options.get("heater_c", 320)))
        self._heater_ms = max(1, min(4032, config.options.get("heater_ms", 150)))
        self.deadline_ms = _CONVERTING_MS + self._heater_ms * 5 // 4 + 200
        self._ambient_c = 25
        self.reset()

    def reset(self) -> None:
        self._trim: Trim | None = None
        self._asked = False

    def start(self) -> int:
        trim = self._trim
        if trim is None:
            trim = self._identify()
        self._write_byte(_CTRL_HUM, 1)
        self._write_byte(_RES_HEAT_0, heater_resistance(trim, self._heater_c, self._ambient_c))
        self._write_byte(_GAS_WAIT_0, heater_wait(self._heater_ms))
        self._write_byte(_CTRL_GAS_1, _RUN_GAS)
        self._write_byte(_CTRL_MEAS, _FORCED)
        self._asked = True
        return _CONVERTING_MS + self._heater_ms

    def _identify(self) -> Trim:
        if self._read_byte(_ID) != _BME680:
            raise SensorError(quality.WRONG_PART)
        self._is_680 = self._read_byte(_VARIANT) == 0
        low, high, heater = bytearray(25), bytearray(16), bytearray(5)
        self.bus.readfrom_mem_into(self.address, _TRIM_1, low)
        self.bus.readfrom_mem_into(self.address, _TRIM_2, high)
        self.bus.readfrom_mem_into(self.address, _TRIM_HEATER, heater)
        trim = Trim(low, high, heater)
        if trim.t[0] in (0, 0xFFFF) or trim.p[0] in (0, 0xFFFF):
            raise SensorError(quality.BUS)  # an erased trimming memory does not exist
        self._trim = trim
        return trim

    def read_into(self, out: "list[int]") -> None:
        trim = self._trim
        if trim is None or not self._asked:
            raise NotReady
        data = self._read_register(_STATUS, 15)
        if not data[0] & _NEW_DATA:
            raise NotReady
        self._asked = False
        pressure = data[2] << 12 | data[3] << 4 | data[4] >> 4
        temperature = data[5] << 12 | data[6] << 4 | data[7] >> 4
        if pressure == _SKIPPED or temperature == _SKIPPED:
            raise SensorError(quality.IMPLAUSIBLE)
        fine = fine_temperature(trim, temperature)
        out[0] = celsius_hundredths(fine)
        out[1] = (humidity_thousandths(trim, data[8] << 8 | data[9], fine) + 5) // 10
        out[2] = pascal(trim, pressure, fine)
        # Operating range: -40..85 Cel, 300..1100 hPa
        if not -4000 <= out[0] <= 8500 or not 30000 <= out[2] <= 110000:
            raise SensorError(quality.IMPLAUSIBLE)
        self._ambient_c = out[0] // 100
        self._gas_into(trim, data, out)

    def _gas_into(self, trim: Trim, data: memoryview, out: "list[int]") -> None:
        low = data[14]
        if not self._is_680:
            self.quality[3] = quality.WRONG_PART
            return
        if not low & _GAS_VALID:
            self.quality[3] = quality.TIMEOUT
            return
        out[3] = min(_MOST_OHM, gas_ohm(trim, data[13] << 2 | low >> 6, low & 15))
        self.quality[3] = quality.GOOD if low & _HEAT_STABLE else quality.WARMING
