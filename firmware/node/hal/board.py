"""The board's wiring, as data: buses, pins and quirks by name, opened when first asked for.

Owns the map from names in product.toml ("i2c0") to machine objects. The data comes from
`board-<board>.cbor` in the release, so a wrong pin is mended by an update:
`buses` maps a name (kind and number) to its pins, in the order of boards/chips/*.toml:
i2c [scl, sda], spi [sck, mosi, miso], uart [tx, rx], onewire [pin]; `pins` maps names to numbers.
"""

import machine
from loader import cbor
from node.hal.i2c import I2cBus

_SPI_HZ = 1000000
_UART_BAUD = 9600


class WiringError(Exception):
    """The product names a bus or pin that this board does not have."""


class Board:
    """`data` is the decoded board-<board>.cbor."""

    def __init__(self, data: dict) -> None:
        self.data = data
        self._open: dict = {}

    def bus(self, name: str):
        """The bus called `name`, the same object each time. Raises WiringError."""
        found = self._open.get(name)
        if found is None:
            found = self._open[name] = self._make(name)
        return found

    def pin(self, name: str, *mode):
        """machine.Pin by the board's name, or by "gpio<number>"."""
        return machine.Pin(self._number(name), *mode)

    # Parts on pins of their own take them from here. What they need is imported when it is asked
    # for: most products have none.

    def analog(self, name: str):
        """The analogue input on a pin: `millivolts()`."""
        from node.hal.analog import AnalogIn

        return AnalogIn(self._number(name), self.data.get("port", ""))

    def shift_in(self, data: str, clock: str):
        """Clocked bits on two pins: `ready()`, `read(bits, more)`."""
        from node.hal.shift import ShiftIn

        return ShiftIn(self._number(data), self._number(clock))

    def rail(self, name: str):
        """The supply that a pin switches, the same object each time."""
        key = "rail " + name
        found = self._open.get(key)
        if found is None:
            from node.hal.rail import Rail

            found = self._open[key] = Rail(self._number(name))
        return found

    def onewire(self, name: str):
        """The 1-Wire bus on a pin, the same object each time."""
        key = "onewire " + name
        found = self._open.get(key)
        if found is None:
            found = self._open[key] = _one_wire(self.pin(name))
        return found

    def _number(self, name: str) -> int:
        number = self.data.get("pins", {}).get(name)
        if number is None and name[:4] == "gpio" and name[4:].isdigit():
            number = int(name[4:])
        if not isinstance(number, int):
            raise WiringError("no pin %s" % name)
        return number

    def _pins(self, name: str) -> list:
        pins = self.data.get("buses", {}).get(name)
        if not isinstance(pins, list) or not pins:
            raise WiringError("no bus %s" % name)
        return pins

    def _make(self, name: str):
        pins = [machine.Pin(number) for number in self._pins(name)]
        kind, number = _split(name)
        if kind == "i2c":
            return I2cBus(number, pins[0], pins[1])
        if kind == "spi":
            return machine.SPI(number, _SPI_HZ, sck=pins[0], mosi=pins[1], miso=pins[2])
        if kind == "uart":
            return machine.UART(number, _UART_BAUD, tx=pins[0], rx=pins[1])
        if kind == "onewire":
            return _one_wire(pins[0])
        raise WiringError("no kind of bus is called %s" % kind)


def _one_wire(pin):
    import onewire

    return onewire.OneWire(pin)


def _split(name: str) -> tuple:
    end = len(name)
    while end and name[end - 1].isdigit():
        end -= 1
    return name[:end], int(name[end:] or "0")


def load(path: str) -> Board:
    """Read `board-<board>.cbor`. Raises OSError or loader.cbor.VerifyError."""
    with open(path, "rb") as file:
        return Board(cbor.decode(file.read()))  # no size, which would be taken in one piece
