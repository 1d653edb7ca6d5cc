"""Maxim DS18B20: temperature, one or several probes on one wire.

Source: data sheet 19-7487, revision 6 (July 2019): scratchpad figure 9, temperature/data table 1,
configuration register figure 10, CRC section "CRC generation"; ROM search: application note 187.

Options, one of:
  (none)                      exactly one probe on the wire, channel "temperature"
  "count": 3                  three probes in the order of their ROMs: "temperature_1" ...
  "probes": {"inlet": "28ff4c5d911604a2", ...}   by ROM, as printed on it; channels by these names
Without ROMs, another number of probes on the wire than was said is refused as a whole: one that is
missing would hand its place to its neighbour.

Refused: the power-on value 85.0 Cel (the conversion never took place; a true 85.0000 is refused as
well), an all-zero scratchpad (its CRC is right), values outside -55..125 Cel. Parasite power is
not supported: a part so powered cannot say that it is busy, and wants a strong pull-up.
The bus is an `onewire.OneWire`, or the wiring itself with `pin`.
"""

from binascii import unhexlify

from micropython import const

from node.core import quality
from node.drivers.sensor import NotReady, Sensor, SensorError, signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from node.core.config import SensorConfig

CHANNELS = (("temperature", "Cel", -2),)
MAX_PROBES = const(16)

_SEARCH_ROM = const(0xF0)
_MATCH_ROM = const(0x55)
_SKIP_ROM = const(0xCC)
_CONVERT_T = const(0x44)
_READ_SCRATCHPAD = const(0xBE)
_FAMILY = const(0x28)
_POWER_ON = const(0x0550)  # +85 Cel, table 1
_READY_MS = const(750)  # tCONV at 12 bits
_SCRATCHPAD = const(9)


def channels(config: "SensorConfig") -> "tuple[tuple[str, str, int], ...]":
    probes = config.options.get("probes")
    if probes:
        return tuple((name, "Cel", -2) for name in sorted(probes))
    count = config.options.get("count", 1)
    if count == 1:
        return CHANNELS
    return tuple(("temperature_%d" % (at + 1), "Cel", -2) for at in range(min(count, MAX_PROBES)))


def crc8(data: "bytes | bytearray | memoryview") -> int:
    """Dallas CRC: x^8 + x^5 + x^4 + 1, least significant bit first; 0 over data with its CRC."""
    crc = 0
    for index in range(len(data)):
        crc ^= data[index]
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc


def celsius_hundredths(low: int, high: int, resolution: int = 3) -> int:
    """Table 1; below 12 bits (`resolution` < 3) the lowest bits are undefined."""
    raw = signed(high << 8 | low, 16) >> (3 - resolution) << (3 - resolution)
    return raw * 25 + 2 >> 2


def judge(scratchpad: "bytes | bytearray") -> int:
    """The quality code of a scratchpad as it was read."""
    lowest, highest = min(scratchpad), max(scratchpad)
    if lowest == 0xFF:
        return quality.ABSENT  # nobody pulled the wire low
    if highest == 0:
        return quality.IMPLAUSIBLE  # a shorted wire, or a part that is losing its power
    if crc8(scratchpad):
        return quality.CRC
    if scratchpad[4] & 0x9F != 0x1F or scratchpad[1] << 8 | scratchpad[0] == _POWER_ON:
        return quality.IMPLAUSIBLE
    celsius = celsius_hundredths(scratchpad[0], scratchpad[1])
    return quality.GOOD if -5500 <= celsius <= 12500 else quality.IMPLAUSIBLE


def search(bus: "Any") -> "list[bytes]":
    """The ROMs of all DS18B20 on the wire, sorted. SensorError crc when one came spoiled."""
    found: list[bytes] = []
    rom, last = bytearray(8), 64
    for _ in range(MAX_PROBES):
        last = _next_rom(bus, rom, last)
        if crc8(rom):
            raise SensorError(quality.CRC)
        if rom[0] == _FAMILY:
            found.append(bytes(rom))
        if last < 0:
            break
    return sorted(found)


def _next_rom(bus: "Any", rom: bytearray, last: int) -> int:
    """One pass of AN187: `rom` becomes the next one after itself; -> the last bit position where
    a branch is left, -1 when there is none. `last` 64 starts anew."""
    if not bus.reset():
        raise SensorError(quality.ABSENT)
    bus.writebyte(_SEARCH_ROM)
    branch = -1
    for at in range(64):
        mask = 1 << (at & 7)
        bit, complement = bus.readbit(), bus.readbit()
        if bit and complement:
            raise SensorError(quality.ABSENT)  # a part left in the middle of the search
        if not bit and not complement:  # both kinds of part are there
            if last == 64 or at > last:
                bit = 0
            else:
                bit = 1 if at == last else rom[at >> 3] & mask
            if not bit:
                branch = at
        if bit:
            rom[at >> 3] |= mask
        else:
            rom[at >> 3] &= ~mask & 0xFF
        bus.writebit(1 if bit else 0)
    return branch


class Driver(Sensor):
    deadline_ms = 1000

    def __init__(self, bus: "Any", config: "SensorConfig") -> None:
        self.CHANNELS = channels(config)
        Sensor.__init__(self, bus, config, _SCRATCHPAD)
        self._pin = config.pin
        self._wire: Any = None
        probes = config.options.get("probes") or {}
        self._named = [unhexlify(probes[name]) for name in sorted(probes)]
        self._roms = self._named
        self._asked = False

    def reset(self) -> None:
        self._roms = self._named
        self._asked = False

    def start(self) -> int:
        if self._wire is None:
            self._wire = self.bus.onewire(self._pin) if self._pin else self.bus
        if not self._roms:
            roms = search(self._wire)
            if len(roms) != len(self.CHANNELS):
                few = len(roms) < len(self.CHANNELS)
                raise SensorError(quality.ABSENT if few else quality.WRONG_PART)
            self._roms = roms
        if not self._wire.reset():
            raise SensorError(quality.ABSENT)
        self._wire.writebyte(_SKIP_ROM)
        self._wire.writebyte(_CONVERT_T)
        self._asked = True
        return _READY_MS

    def read_into(self, out: "list[int]") -> None:
        if not self._asked or not self._wire.readbit():  # 0: some part is still converting
            raise NotReady
        self._asked = False
        failed = 0
        for index in range(len(self._roms)):
            code = self._read_probe(self._roms[index])
            self.quality[index] = code
            if code == quality.GOOD:
                resolution = self._buffer[4] >> 5 & 3
                out[index] = celsius_hundredths(self._buffer[0], self._buffer[1], resolution)
            else:
                failed += 1
        if failed == len(self._roms):
            raise SensorError(self.quality[0])

    def _read_probe(self, rom: bytes) -> int:
        if not self._wire.reset():
            return quality.ABSENT
        self._wire.writebyte(_MATCH_ROM)
        self._wire.write(rom)
        self._wire.writebyte(_READ_SCRATCHPAD)
        self._wire.readinto(self._buffer)
        return judge(self._buffer)
