"""Bosch BME280 (and BMP280): temperature, humidity, pressure over I2C.

Source: BME280 data sheet BST-BME280-DS002, revision 1.6 (September 2018): registers section 5.3,
trimming parameters table 16, compensation formulas section 4.2.3 (temperature, humidity) and 8.1
(pressure), measurement time section 9.1. BMP280: BST-BMP280-DS001, revision 1.14 (May 2015), the
same but for humidity.

One forced measurement per reading, oversampling 1 (section 3.5.1 "weather monitoring"). A BMP280,
often sold as a BME280, is told by its id: its humidity is then `wrong-part`, the rest is good.
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

CHANNELS = (("temperature", "Cel", -2), ("humidity", "%RH", -2), ("pressure", "Pa", 0))

_ID = const(0xD0)
_CTRL_HUM = const(0xF2)
_STATUS = const(0xF3)
_CTRL_MEAS = const(0xF4)
_DATA = const(0xF7)
_TRIM_1 = const(0x88)
_TRIM_2 = const(0xE1)
_BME280 = const(0x60)
_BMP280 = (0x56, 0x57, 0x58)
_FORCED = const(0x25)  # osrs_t 1, osrs_p 1, mode 01
_BUSY = const(0x08)  # status.measuring
_LOADING = const(0x01)  # status.im_update: trimming values are being copied
_READY_MS = const(10)  # section 9.1: 1.25 + 2.3 + 2.575 + 2.575 = 9.3 ms at most
_SKIPPED = const(0x80000)  # reset value of a data register: nothing was measured


class Trim:
    """The trimming parameters of one chip (table 16), as the formulas want them."""

    def __init__(self, low: "Any", high: "Any") -> None:
        self.t = unpack_from("<Hhh", low, 0)
        self.p = unpack_from("<Hhhhhhhhh", low, 6)
        h2, h3 = unpack_from("<hB", high, 0)
        h4 = signed(high[3] << 4 | high[4] & 15, 12)
        h5 = signed(high[5] << 4 | high[4] >> 4, 12)
        self.h = (low[25], h2, h3, h4, h5, signed(high[6], 8))


def fine_temperature(trim: Trim, raw: int) -> int:
    """t_fine, which pressure and humidity need (section 4.2.3)."""
    t1, t2, t3 = trim.t
    var1 = ((raw >> 3) - (t1 << 1)) * t2 >> 11
    half = (raw >> 4) - t1
    return var1 + ((half * half >> 12) * t3 >> 14)


def celsius_hundredths(t_fine: int) -> int:
    return t_fine * 5 + 128 >> 8


def pressure_16ths(trim: Trim, raw: int, t_fine: int) -> int:
    """Pa * 16; 0 when the trimming values would divide by zero.

    Section 8.1's formula in integers of 30 bits: within 1 Pa of it, where section 4.2.3 offers 64
    bits or 3 Pa. `divisor` is 16 * p1 * (1 + slope / 2**32), `counts` four times what it divides.
    """
    p1, p2, p3, p4, p5, p6, p7, p8, p9 = trim.p
    x = (t_fine >> 1) - 64000
    square = (x >> 3) * (x >> 3)
    slope = (p3 * (square >> 13) >> 2) + p2 * (x >> 2)
    divisor = (p1 << 4) + ((slope >> 14) * p1 + ((slope & 0x3FFF) * p1 >> 14) >> 14)
    if divisor <= 0:
        return 0
    counts = (1048576 - raw << 2) - (p4 << 6) - ((square >> 9) * p6 + 2 * x * p5 >> 12)
    p = times_3125(counts << 7, divisor)
    pascal = p >> 4
    curve = p9 * ((pascal >> 3) * (pascal >> 3) >> 13) >> 12
    return p + curve + ((pascal >> 2) * p8 >> 13) + p7


def humidity_1024ths(trim: Trim, raw: int, t_fine: int) -> int:
    """%RH * 1024, limited to 0..100 %."""
    h1, h2, h3, h4, h5, h6 = trim.h
    v = t_fine - 76800
    left = (raw << 14) - (h4 << 20) - h5 * v + 16384 >> 15
    right = ((v * h6 >> 10) * ((v * h3 >> 11) + 32768) >> 10) + 2097152
    v = left * (right * h2 + 8192 >> 14)
    v -= ((v >> 15) * (v >> 15) >> 7) * h1 >> 4
    return max(0, min(v, 419430400)) >> 12


def compensate(trim: Trim, raw_t: int, raw_h: int, raw_p: int, out: "list[int]") -> None:
    """Raw temperature, humidity and pressure -> `out` in the scale of CHANNELS."""
    t_fine = fine_temperature(trim, raw_t)
    out[0] = celsius_hundredths(t_fine)
    out[1] = humidity_1024ths(trim, raw_h, t_fine) * 100 + 512 >> 10
    out[2] = pressure_16ths(trim, raw_p, t_fine) + 8 >> 4


class Driver(Sensor):
    CHANNELS = CHANNELS
    ADDRESS = 0x76
    deadline_ms = 100

    def __init__(self, bus: "Any", config: "SensorConfig") -> None:
        Sensor.__init__(self, bus, config, 8)
        self._trim: Trim | None = None
        self._has_humidity = False

    def reset(self) -> None:
        self._trim = None

    def start(self) -> int:
        if self._trim is None:
            self._identify()
        if self._has_humidity:
            self._write_byte(_CTRL_HUM, 1)  # takes effect with the write to ctrl_meas
        self._write_byte(_CTRL_MEAS, _FORCED)
        return _READY_MS

    def _identify(self) -> None:
        chip = self._read_byte(_ID)
        if chip != _BME280 and chip not in _BMP280:
            raise SensorError(quality.WRONG_PART)
        if self._read_byte(_STATUS) & _LOADING:
            raise NotReady
        self._has_humidity = chip == _BME280
        low, high = bytearray(26), bytearray(7)
        self.bus.readfrom_mem_into(self.address, _TRIM_1, low)
        if self._has_humidity:
            self.bus.readfrom_mem_into(self.address, _TRIM_2, high)
        trim = Trim(low, high)
        if trim.t[0] in (0, 0xFFFF) or trim.p[0] in (0, 0xFFFF):
            raise SensorError(quality.BUS)  # an erased trimming memory does not exist
        self._trim = trim

    def read_into(self, out: "list[int]") -> None:
        if (
            self._trim is None
            or self._read_byte(_STATUS) & _BUSY
            or self._read_byte(_CTRL_MEAS) & 3
        ):
            raise NotReady
        data = self._read_register(_DATA, 8)
        pressure = data[0] << 12 | data[1] << 4 | data[2] >> 4
        temperature = data[3] << 12 | data[4] << 4 | data[5] >> 4
        if pressure == _SKIPPED or temperature == _SKIPPED:
            raise NotReady
        compensate(self._trim, temperature, data[6] << 8 | data[7], pressure, out)
        # Operating range: -40..85 Cel, 300..1100 hPa
        if not -4000 <= out[0] <= 8500 or not 30000 <= out[2] <= 110000:
            raise SensorError(quality.IMPLAUSIBLE)
        self.quality[1] = quality.GOOD if self._has_humidity else quality.WRONG_PART
