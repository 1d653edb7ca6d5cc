"""machine's I2C, SPI, UART, ADC and PWM over the parts of `wired`."""

from . import clock, pins, power, wired
from .bus import Nak

_EIO = 5
_ENODEV = 19


def _pin(value):
    return value.id if isinstance(value, pins.Pin) else pins.number(value)


class I2C:
    def __init__(self, id=-1, scl=None, sda=None, freq=400000, timeout=50000, **_):
        defaults = power.board["buses"].get("i2c%d" % id) if id >= 0 else None
        if id >= 0 and defaults is None:
            raise ValueError("I2C(%d) doesn't exist" % id)
        if scl is None or sda is None:
            if defaults is None:
                raise TypeError("scl and sda required")
            scl, sda = defaults[0], defaults[1]
        # esp32's driver reports a missing acknowledge as ENODEV, rp2's as EIO.
        self._nak = _ENODEV if power.board["port"] == "esp32" and id >= 0 else _EIO
        self._us_per_byte = 9000000 // freq or 1
        self._lines = wired.i2c_at(_pin(scl), _pin(sda))

    def scan(self):
        return self._lines.scan()

    def writeto(self, addr, buf, stop=True):
        self._send(addr, buf)
        return len(buf) + 1

    def writevto(self, addr, vector, stop=True):
        data = b"".join(bytes(part) for part in vector)
        self._send(addr, data)
        return len(data) + 1

    def readfrom(self, addr, nbytes, stop=True):
        return bytes(self._receive(addr, nbytes))

    def readfrom_into(self, addr, buf, stop=True):
        buf[:] = self._receive(addr, len(buf))

    def readfrom_mem(self, addr, memaddr, nbytes, *, addrsize=8):
        self._send(addr, memaddr.to_bytes(addrsize // 8, "big"))
        return bytes(self._receive(addr, nbytes))

    def readfrom_mem_into(self, addr, memaddr, buf, *, addrsize=8):
        buf[:] = self.readfrom_mem(addr, memaddr, len(buf), addrsize=addrsize)

    def writeto_mem(self, addr, memaddr, buf, *, addrsize=8):
        self._send(addr, memaddr.to_bytes(addrsize // 8, "big") + bytes(buf))

    def deinit(self):
        pass

    def _send(self, addr, data):
        self._charge(len(data))
        try:
            self._lines.write(addr, data)
        except Nak:
            raise OSError(self._nak)

    def _receive(self, addr, size):
        self._charge(size)
        try:
            return self._lines.read(addr, size)
        except Nak:
            raise OSError(self._nak)

    def _charge(self, size):
        us = (size + 1) * self._us_per_byte
        if us >= 1000:
            clock.skip(us // 1000)


class SoftI2C(I2C):
    def __init__(self, scl, sda, freq=400000, timeout=50000):
        I2C.__init__(self, -1, scl=scl, sda=sda, freq=freq)


class SPI:
    MSB = 0
    LSB = 1

    def __init__(self, id=0, baudrate=1000000, **_):
        name = "spi%d" % id
        if id >= 0 and name not in power.board["buses"]:
            raise ValueError("SPI(%d) doesn't exist" % id)
        self._parts = wired.spi.get(name, ())

    def init(self, **_):
        pass

    def deinit(self):
        pass

    def write(self, buf):
        self._transfer(bytes(buf))

    def read(self, nbytes, write=0):
        return self._transfer(bytes([write]) * nbytes)

    def readinto(self, buf, write=0):
        buf[:] = self._transfer(bytes([write]) * len(buf))

    def write_readinto(self, out, buf):
        buf[:] = self._transfer(bytes(out))

    def _transfer(self, data):
        for part in self._parts:
            if part.selected:
                part.tick(clock.now_ms())
                return bytes(part.transfer(data))
        return b"\xff" * len(data)


class SoftSPI(SPI):
    def __init__(self, baudrate=500000, **_):
        SPI.__init__(self, -1)
        self._parts = wired.spi.get("soft", ())


class UART:
    def __init__(self, id, baudrate=115200, **options):
        name = "uart%d" % id
        if name not in power.board["buses"]:
            raise ValueError("UART(%d) doesn't exist" % id)
        self._parts = wired.uart.get(name, ())
        self._buffer = bytearray()
        self.init(baudrate, **options)

    def init(self, baudrate=115200, rxbuf=256, **_):
        self._limit = rxbuf

    def deinit(self):
        self._parts = ()

    def any(self):
        self._pull()
        return len(self._buffer)

    def read(self, nbytes=-1):
        self._pull()
        size = len(self._buffer) if nbytes < 0 else min(nbytes, len(self._buffer))
        if not size:
            return None
        out = bytes(self._buffer[:size])
        self._buffer = self._buffer[size:]
        return out

    def readinto(self, buf, nbytes=-1):
        data = self.read(len(buf) if nbytes < 0 else min(nbytes, len(buf)))
        if data is None:
            return None
        buf[: len(data)] = data
        return len(data)

    def readline(self):
        self._pull()
        end = bytes(self._buffer).find(b"\n")
        return self.read(end + 1) if end >= 0 else self.read()

    def write(self, buf):
        for part in self._parts:
            part.tick(clock.now_ms())
            part.received(bytes(buf))
        return len(buf)

    def flush(self):
        pass

    def txdone(self):
        return True

    def _pull(self):
        for part in self._parts:
            part.tick(clock.now_ms())
            self._buffer.extend(part.pending(clock.now_ms()))
        if len(self._buffer) > self._limit:  # the hardware's buffer overruns
            self._buffer = self._buffer[: self._limit]


class ADC:
    ATTN_0DB = 0
    ATTN_2_5DB = 1
    ATTN_6DB = 2
    ATTN_11DB = 3
    CORE_TEMP = 4
    WIDTH_12BIT = 3
    # Full scale by attenuation, mV (ESP32 datasheet, ADC: upper end of the suggested range)
    _FULL_MV = (950, 1250, 1750, 2450)

    def __init__(self, pin, atten=None, **_):
        esp32 = power.board["port"] == "esp32"
        if not esp32 and isinstance(pin, int) and pin < 5:
            pin = pin + 26  # channel number
        self._pin = _pin(pin)
        if self._pin not in power.board["adc"] and self._pin != 30:
            raise ValueError("Pin doesn't have ADC capabilities")
        self._full_uv = 950000 if esp32 else 3300000
        if atten is not None:
            self.atten(atten)

    def atten(self, value):
        self._full_uv = ADC._FULL_MV[value] * 1000

    def width(self, value):
        pass

    def read_uv(self):
        return self.read_u16() * (self._full_uv // 1000) // 65535 * 1000

    def read_u16(self):
        part = wired.adc.get(self._pin)
        uv = part.microvolts(clock.now_ms()) if part else 0
        raw = max(0, min(4095, uv // 100 * 4095 // (self._full_uv // 100)))
        return raw << 4 | raw >> 8

    def read(self):
        return self.read_u16() >> 4


class PWM:
    """Keeps what it was told; nothing that is simulated follows a PWM."""

    def __init__(self, pin, freq=1000, duty_u16=0, **_):
        self._freq = freq
        self._duty = duty_u16

    def freq(self, value=None):
        if value is None:
            return self._freq
        self._freq = value
        return None

    def duty_u16(self, value=None):
        if value is None:
            return self._duty
        self._duty = value
        return None

    def duty(self, value=None):
        if value is None:
            return self._duty >> 6
        self._duty = value << 6
        return None

    def deinit(self):
        self._duty = 0
