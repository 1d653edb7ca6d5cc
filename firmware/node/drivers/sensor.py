"""What every driver is: the port between the sense task and one chip.

A driver module has the constant CHANNELS, ((name, SenML unit, decimal exponent), ...), and the
class `Driver(bus, config)` derived from `Sensor`; `config` is a `node.core.config.SensorConfig`.
A driver whose channels depend on its options has a function `channels(config)` as well.

- The constructor does no I/O.
- `start()` begins a measurement and returns the ms after which it is worth reading.
- `read_into(out)` fills `out` with integers in the channels' scale and `self.quality` with their
  codes, or raises `NotReady` (ask again until `deadline_ms` after the start) or `SensorError`.
- Nothing sleeps. A bus that fails raises its own OSError; the sense task counts it.
"""

import struct

from node.core import quality

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from node.core.config import SensorConfig


class SensorError(Exception):
    """There is no reading, and `code` (node.core.quality) says why."""

    def __init__(self, code: int) -> None:
        super().__init__(quality.name(code))
        self.code = code


class NotReady(SensorError):
    """The conversion is still running; reading now would give an old or a reset value."""

    def __init__(self) -> None:
        super().__init__(quality.TIMEOUT)


class Sensor:
    """Base of the drivers: I2C transfers into one buffer, and the quality row."""

    CHANNELS: "tuple[tuple[str, str, int], ...]" = ()
    ADDRESS = 0
    deadline_ms = 1000

    def __init__(self, bus: "Any", config: "SensorConfig", buffer_bytes: int = 8) -> None:
        self.bus = bus
        self.address = config.address or self.ADDRESS
        self.quality = bytearray(len(self.CHANNELS))
        self._buffer = bytearray(buffer_bytes)
        self._views: dict[int, memoryview] = {}
        self._one = bytearray(1)

    def start(self) -> int:
        raise NotImplementedError

    def read_into(self, out: "list[int]") -> None:
        raise NotImplementedError

    def reset(self) -> None:
        """Forget what is known of the chip: after a failure it may have lost its power."""

    def _read_register(self, register: int, size: int) -> memoryview:
        view = self._first(size)
        self.bus.readfrom_mem_into(self.address, register, view)
        return view

    def _first(self, size: int) -> memoryview:
        """The buffer's first bytes; kept, because a reading must not allocate."""
        view = self._views.get(size)
        if view is None:
            view = self._views[size] = memoryview(self._buffer)[:size]
        return view

    def _read_byte(self, register: int) -> int:
        self.bus.readfrom_mem_into(self.address, register, self._one)
        return self._one[0]

    def _write_byte(self, register: int, value: int) -> None:
        self._one[0] = value
        self.bus.writeto_mem(self.address, register, self._one)

    def _write_pair(self, register: int, first: int, second: int) -> None:
        self._buffer[0], self._buffer[1] = first, second
        self.bus.writeto_mem(self.address, register, self._first(2))

    def _read(self, size: int) -> memoryview:
        view = self._first(size)
        self.bus.readfrom_into(self.address, view)
        return view

    def _write(self, data: bytes) -> None:
        self.bus.writeto(self.address, data)


def module_of(name: str) -> "Any":
    """The module of driver `name`: of node.drivers, or a product's own file in drivers/."""
    for package in ("node.drivers.", "drivers."):
        try:
            return __import__(package + name, None, None, ("Driver",))
        except ImportError:
            continue
    raise ImportError(name)


def channels(config: "SensorConfig") -> "tuple[tuple[str, str, int], ...]":
    """The channels of the driver that `config` names, options considered."""
    module = module_of(config.driver)
    own = getattr(module, "channels", None)
    found: tuple[tuple[str, str, int], ...] = own(config) if own else module.CHANNELS
    return found


def crc8(
    data: "bytes | bytearray | memoryview", polynomial: int, start: int, at: int = 0, end: int = -1
) -> int:
    """CRC-8 of data[at:end], most significant bit first (Sensirion: 0x31 from 0xFF; AHT20 the
    same); all of it by default. A slice would allocate."""
    crc = start
    for index in range(at, end if end >= 0 else len(data)):
        crc ^= data[index]
        for _ in range(8):
            crc = (crc << 1 ^ polynomial if crc & 0x80 else crc << 1) & 0xFF
    return crc


def signed(value: int, bits: int) -> int:
    """Two's complement of `bits` bits."""
    return value - (1 << bits) if value >> (bits - 1) else value


def pack(layout: str, *fields: int) -> bytes:
    return struct.pack(layout, *fields)
