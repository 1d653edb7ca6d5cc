"""The interface of a simulated part, and the buses that carry parts.  Pure: no ffi, no machine.

A model is one file `sensors/<model>.py` with one class `Part`, derived from the class here that
says how it is wired: `I2cPart`, `SpiPart`, `UartPart`, `OneWirePart`, `PinPart` or `AdcPart`.  It
is made once per boot of the simulated chip with

    Part(surroundings, config)

`config` is the dict of the board description ({"model", "bus", "address", "name", …}); parts read
what they measure by `self.world("temperature_mc", 21000)`, an int in milli-units under the name
"<name>.temperature_mc" (the default stands until somebody sets it), and the time by
`self.now_ms()`.  Reading a world value or the time costs next to nothing; a model computes its
registers when it is asked, it never runs by itself.

Faults are world values too: "<name>.fault" is one of the FAULT_ numbers.  ABSENT, NAK and HANG are
enacted by the bus; CRC, IMPLAUSIBLE and STUCK by the model, where they make sense for the part.
"""

FAULT_NONE = 0
FAULT_ABSENT = 1  # no answer to its address
FAULT_NAK = 2  # its address is acknowledged, the data is not
FAULT_CRC = 3  # the model spoils its checksum
FAULT_HANG = 4  # holds SDA low after the next read until it has seen nine clocks
FAULT_IMPLAUSIBLE = 5  # the model answers with a value outside what can be
FAULT_STUCK = 6  # the model never finishes its conversion


class Nak(Exception):
    """The part does not acknowledge (EIO to the program, as the C driver reports it)."""


class Surroundings:
    """What a part can see: `get(name, default)` and `now_ms()`.  Tests make their own."""

    def __init__(self, get=None, now_ms=None):
        self.get = get or (lambda name, default=0: default)
        self.now_ms = now_ms or (lambda: 0)


class Part:
    def __init__(self, surroundings, config):
        self.name = config.get("name") or config.get("model", "part")
        self.config = config
        self.now_ms = surroundings.now_ms
        self._get = surroundings.get
        self._keys = {}

    def world(self, name, default=0):
        key = self._keys.get(name)
        if key is None:  # cached: building the key at each read would churn the board's heap
            key = self._keys[name] = self.name + "." + name
        return self._get(key, default)

    @property
    def fault(self):
        return self.world("fault", FAULT_NONE)

    def tick(self, now_ms):
        """Called before each transaction; only for models with an inner state machine."""


class I2cPart(Part):
    """Register-level: `write` is a whole write transaction, `read` what a read returns.

    A register read by the program is `write(bytes([reg]))`, repeated start, `read(n)`.  Raise
    `Nak` where the part would not acknowledge (a SHT4x read before it is ready).
    """

    address = 0

    def __init__(self, surroundings, config):
        Part.__init__(self, surroundings, config)
        self.address = config.get("address", self.address)

    def write(self, data):
        pass

    def read(self, size):
        return b"\xff" * size

    def mem_write(self, reg, data):
        self.write(bytes([reg]) + bytes(data))

    def mem_read(self, reg, size):
        self.write(bytes([reg]))
        return self.read(size)

    def general_call(self, data):
        """A write to address 0 (SHT3x reset)."""


class SpiPart(Part):
    """`transfer(data)` -> as many bytes, while selected; `select(active)` at its CS edge."""

    def select(self, active):
        pass

    def transfer(self, data):
        return b"\xff" * len(data)


class UartPart(Part):
    """`received(data)` when the chip sends; `pending(now_ms)` -> bytes it has sent until now."""

    def received(self, data):
        pass

    def pending(self, now_ms):
        return b""


class OneWirePart(Part):
    """`rom` is the 8-byte address with its CRC; bus commands come after it is selected.

    `command(byte)` for each byte written after selection; `read_bit()` for each slot read.
    """

    rom = b""

    def reset(self):
        pass

    def command(self, byte):
        pass

    def read_bit(self):
        return 1

    def alarmed(self):
        return False


class PinPart(Part):
    """Bit-banged parts (HX711): levels by the names in `config["pins"]`, {"clk": 4, "data": 5}."""

    def drive(self, wire, level, now_ms):
        """The chip put `level` on `wire`."""

    def level(self, wire, now_ms):
        """What the chip reads on `wire`; None where the part does not drive it."""
        return


class AdcPart(Part):
    """`microvolts(now_ms)` at the pin of `config["pin"]`."""

    def microvolts(self, now_ms):
        return 0


class I2cBus:
    """The parts on one pair of wires, and the state of those wires."""

    def __init__(self):
        self.parts = {}
        self.clocks_to_free = 0  # > 0: a part holds SDA low
        self._now_ms = None

    def add(self, part):
        self.parts[part.address] = part
        self._now_ms = part.now_ms

    def scan(self):
        if self.clocks_to_free:
            return []
        return [a for a in sorted(self.parts) if self.parts[a].fault != FAULT_ABSENT]

    def write(self, address, data):
        if address == 0 and self.parts:
            for part in self.parts.values():
                part.general_call(data)
            return
        part = self._select(address)
        if part.fault == FAULT_NAK and len(data):
            raise Nak(address)
        part.write(data)

    def read(self, address, size):
        part = self._select(address)
        if part.fault == FAULT_NAK:
            raise Nak(address)
        if part.fault == FAULT_HANG:
            self.clocks_to_free = 9
            raise Nak(address)
        return part.read(size)

    def clock(self):
        """One clock pulse by hand on SCL (bus recovery)."""
        if self.clocks_to_free:
            self.clocks_to_free -= 1

    @property
    def sda_low(self):
        return self.clocks_to_free > 0

    def _select(self, address):
        if self.clocks_to_free:
            raise OSError(110)  # ETIMEDOUT: the wire never goes up
        part = self.parts.get(address)
        if part is None or part.fault == FAULT_ABSENT:
            raise Nak(address)
        part.tick(part.now_ms())
        return part


class OneWireBus:
    """Reset, ROM commands (search, match, skip, read) and slots, bit by bit."""

    _SEARCH, _ALARM, _MATCH, _SKIP, _READ = 0xF0, 0xEC, 0x55, 0xCC, 0x33

    def __init__(self):
        self.parts = []
        self._state = ""
        self._alive = []
        self._bit = 0
        self._phase = 0
        self._byte = 0

    def add(self, part):
        self.parts.append(part)

    def reset(self):
        """-> True when at least one part answers with a presence pulse."""
        self._state = "rom"
        self._bit = self._byte = self._phase = 0
        self._alive = [p for p in self.parts if p.fault != FAULT_ABSENT]
        for part in self._alive:
            part.tick(part.now_ms())
            part.reset()
        return bool(self._alive)

    def write_bit(self, bit):
        if self._state == "search":
            self._search_write(bit)
            return
        if self._state == "match":
            self._keep(bit)
            return
        self._byte |= bit << self._bit
        self._bit += 1
        if self._bit == 8:
            byte, self._byte, self._bit = self._byte, 0, 0
            self._command(byte)

    def read_bit(self):
        if self._state == "search":
            return self._search_read()
        if self._state == "read":
            bit = 1
            for part in self._alive:
                bit &= _rom_bit(part, self._phase)
            self._phase += 1
            return bit
        bit = 1  # open drain: any 0 wins
        for part in self._alive:
            bit &= part.read_bit()
        return bit

    def _command(self, byte):
        if self._state == "function":
            for part in self._alive:
                part.command(byte)
        elif self._state == "rom":
            if byte == self._ALARM:
                self._alive = [p for p in self._alive if p.alarmed()]
            self._state = {
                self._SEARCH: "search",
                self._ALARM: "search",
                self._MATCH: "match",
                self._SKIP: "function",
                self._READ: "read",
            }.get(byte, "ignored")
            self._bit = self._phase = 0

    def _search_read(self):
        complement = self._phase & 1
        self._phase += 1
        bit = 1
        for part in self._alive:
            bit &= _rom_bit(part, self._bit) ^ complement
        return bit

    def _search_write(self, bit):
        self._phase = 0
        self._keep(bit)

    def _keep(self, bit):
        self._alive = [p for p in self._alive if _rom_bit(p, self._bit) == bit]
        self._bit += 1
        if self._bit == 64:
            self._state = "function"
            self._bit = 0


def _rom_bit(part, index):
    return part.rom[index >> 3] >> (index & 7) & 1
