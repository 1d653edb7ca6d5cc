"""GPIO: levels in shared words, wires to parts, interrupts.

`wires` maps a pin to what is attached there: an object with `drive(level)` and `level()` (None =
not driven).  The runner sets input levels and counts `pin_events` up; interrupts run at the next
look at the clock, which is where a simulated chip has its instruction boundary.
"""

from . import clock, layout, power, shared

wires = {}
_interrupts = {}
_seen_events = 0
_timer = None
_LOOK_MS = 20
_OUT = 1
_OPEN_DRAIN = 2


def attach(pin, wire):
    wires.setdefault(pin, []).append(wire)


def number(name):
    """The GPIO number of a pin given as number, "GPIO4" or board name ("LED")."""
    if isinstance(name, int):
        pin = name
    else:
        pin = power.board["pins"].get(name, -1)
        if pin < 0 and name.startswith("GP"):
            pin = int(name[4 if name.startswith("GPIO") else 2 :])
    if pin not in power.board["gpio"]:
        raise ValueError("invalid pin")
    return pin


def read(pin):
    raw = shared.RAW
    at = layout.PIN_AT + layout.PIN_BYTES * pin
    mode = raw[at]
    if mode == _OUT:
        return raw[at + 1]
    driven = 1 if raw[at + 3] == 1 else raw[at + 2]
    for wire in wires.get(pin, ()):
        level = wire.level()
        if level is not None:
            driven = level
    return driven & raw[at + 1] if mode == _OPEN_DRAIN else driven


def write(pin, level):
    raw = shared.RAW
    at = layout.PIN_AT + layout.PIN_BYTES * pin
    before = raw[at + 1]
    raw[at + 1] = level
    for wire in wires.get(pin, ()):
        wire.drive(level)
    if before != level:
        rail = power.board["rails_by_pin"].get(str(pin))
        if rail is not None:
            power.rail(rail, level)


def watch(pin, handler, trigger, owner):
    global _timer
    if handler is None:
        _interrupts.pop(pin, None)
    else:
        _interrupts[pin] = [handler, trigger, owner, read(pin)]
        if _timer is None:
            _timer = clock.at(clock.now_ms() + _LOOK_MS, _look)


def _look(_):
    """Find edges since the last look and run their handlers."""
    global _seen_events, _timer
    if shared.S.pin_events != _seen_events:
        _seen_events = shared.S.pin_events
        for pin, entry in list(_interrupts.items()):
            level = read(pin)
            if level != entry[3]:
                entry[3] = level
                if entry[1] & (Pin.IRQ_RISING if level else Pin.IRQ_FALLING):
                    entry[0](entry[2])
    if _interrupts:
        clock.again(_timer, clock.now_ms() + _LOOK_MS)
    else:
        _timer = None


class Pin:
    IN = 0
    OUT = _OUT
    OPEN_DRAIN = _OPEN_DRAIN
    ALT = 3
    PULL_UP = 1
    PULL_DOWN = 2
    IRQ_FALLING = 4
    IRQ_RISING = 8
    WAKE_LOW = 1
    WAKE_HIGH = 2

    def __init__(self, id, mode=None, pull=None, value=None, **_):
        self.id = id.id if isinstance(id, Pin) else number(id)
        self._at = layout.PIN_AT + layout.PIN_BYTES * self.id
        self.init(mode, pull, value=value)

    def init(self, mode=None, pull=None, value=None, **_):
        raw = shared.RAW
        if mode is not None:
            if mode == Pin.OUT and self.id in power.board["input_only"]:
                raise ValueError("pin can only be input")
            if mode == Pin.OPEN_DRAIN and value is None:
                raw[self._at + 1] = 1
            raw[self._at] = mode
        raw[self._at + 3] = pull or 0
        if value is not None:
            write(self.id, 1 if value else 0)

    def value(self, level=None):
        if level is None:
            return read(self.id)
        write(self.id, 1 if level else 0)
        return None

    def __call__(self, level=None):
        return self.value(level)

    def on(self):
        write(self.id, 1)

    def off(self):
        write(self.id, 0)

    high = on
    low = off

    def toggle(self):
        write(self.id, 1 - shared.RAW[self._at + 1])

    def mode(self):
        return shared.RAW[self._at]

    def irq(self, handler=None, trigger=12, wake=None, hard=False, priority=1):
        watch(self.id, handler, trigger, self)
        return self

    def __repr__(self):
        return "Pin(%d)" % self.id
