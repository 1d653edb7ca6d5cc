"""The parts soldered to this board: makes the models of the description and wires them up.

Filled once per power-on of the simulated chip (before the first fork), so a model's state does not
outlive a boot; what must (an accumulated charge, a stored alarm) it derives from world and time.
"""

from . import bus, clock, pins, world

i2c = {}  # "i2c0" or "soft:SCL:SDA" -> I2cBus
spi = {}
uart = {}
onewire = {}  # pin -> OneWireBus
adc = {}  # pin -> part
_around = bus.Surroundings(world.get, clock.now_ms)


class _Scl:
    """The clock wire as a GPIO, for programs that free a hung bus by hand."""

    def __init__(self, lines):
        self._lines = lines
        self._low = False

    def drive(self, level):
        if level and self._low:
            self._lines.clock()
        self._low = not level

    def level(self):
        return None


class _Sda:
    def __init__(self, lines):
        self._lines = lines

    def drive(self, level):
        pass

    def level(self):
        return 0 if self._lines.sda_low else 1


class _Wire:
    def __init__(self, part, name):
        self._part = part
        self._name = name

    def drive(self, level):
        self._part.drive(self._name, level, clock.now_ms())

    def level(self):
        return self._part.level(self._name, clock.now_ms())


def i2c_at(scl, sda):
    """The bus whose wires are on these pins; an empty one where nothing is soldered."""
    lines = i2c.get((scl, sda))
    if lines is None:
        lines = i2c[(scl, sda)] = bus.I2cBus()
        pins.attach(scl, _Scl(lines))
        pins.attach(sda, _Sda(lines))
    return lines


def solder(devices, default_pins):
    """Make every part of `devices` (dicts of the board description)."""
    for config in devices:
        part = _model(config["model"])(_around, config)
        if isinstance(part, bus.I2cPart):
            scl, sda = config.get("pins") or default_pins[config.get("bus", "i2c0")]
            i2c_at(scl, sda).add(part)
        elif isinstance(part, bus.OneWirePart):
            onewire.setdefault(config["pin"], bus.OneWireBus()).add(part)
        elif isinstance(part, bus.PinPart):
            for name, pin in config["pins"].items():
                pins.attach(pin, _Wire(part, name))
        elif isinstance(part, bus.AdcPart):
            adc[config["pin"]] = part
        elif isinstance(part, bus.SpiPart):
            _solder_spi(part, config)
        else:
            uart.setdefault(config.get("bus", "uart1"), []).append(part)


class _Select:
    def __init__(self, part):
        self._part = part

    def drive(self, level):
        self._part.selected = not level
        self._part.select(not level)

    def level(self):
        return None


def _solder_spi(part, config):
    part.selected = False
    pins.attach(config["cs"], _Select(part))
    spi.setdefault(config.get("bus", "spi0"), []).append(part)


def _model(name):
    """A part of the catalogue, else of the product's own models."""
    try:
        return __import__("chip.sensors." + name, None, None, ("Part",)).Part
    except ImportError:
        return __import__("models." + name, None, None, ("Part",)).Part
