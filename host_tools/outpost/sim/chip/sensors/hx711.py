"""Model of an Avia HX711 at 10 samples/s: wires `clk` (PD_SCK) and `data` (DOUT).

World: counts (channel A at gain 128), counts_b (channel B at gain 32). A fault IMPLAUSIBLE is a
data wire shorted to ground.
"""

from ..bus import FAULT_ABSENT, FAULT_IMPLAUSIBLE, FAULT_STUCK, PinPart

_PERIOD_MS = 100
_SETTLING_MS = 400
_POWER_DOWN_MS = 50  # the part needs 60 us; the host may pause the simulated chip for longer


class Part(PinPart):
    def __init__(self, surroundings, config):
        PinPart.__init__(self, surroundings, config)
        self._clock = 0
        self._high_ms = 0
        self._restart(None)  # a part is made before its chip's clock runs

    def _restart(self, now_ms):
        self._gain = self._was = 128
        self._pulses = 0
        self._ready_ms = None if now_ms is None else now_ms + _SETTLING_MS
        self._value = None

    def drive(self, wire, level, now_ms):
        if wire != "clk" or level == self._clock:
            return
        self._clock = level
        if level:
            self._high_ms = now_ms
            self._rise(now_ms)
        elif now_ms - self._high_ms > _POWER_DOWN_MS:
            self._restart(now_ms)

    def _ready(self, now_ms):
        if self._ready_ms is None:
            self._ready_ms = now_ms + _SETTLING_MS
        return now_ms >= self._ready_ms

    def _rise(self, now_ms):
        if self._pulses >= 25 and self._ready(now_ms):
            self._pulses = 0
        if self._pulses == 0:
            self._value = self._converted()
            self._was = self._gain
        self._pulses += 1
        if self._pulses >= 25:  # the number of clocks sets what is converted next
            self._gain = {25: 128, 26: 32}.get(self._pulses, 64)
            changed = self._gain != self._was
            self._ready_ms = now_ms + (_SETTLING_MS if changed else _PERIOD_MS)

    def _converted(self):
        if self._gain == 32:
            counts = self.world("counts_b", 0)
        else:
            counts = self.world("counts", 0) * self._gain // 128
        return max(-0x800000, min(0x7FFFFF, counts)) & 0xFFFFFF

    def level(self, wire, now_ms):
        fault = self.fault
        if wire != "data" or fault == FAULT_ABSENT:
            return None
        if fault == FAULT_IMPLAUSIBLE:
            return 0
        if fault == FAULT_STUCK:
            return 1
        if 0 < self._pulses <= 24:
            return self._value >> (24 - self._pulses) & 1
        return 0 if self._ready(now_ms) else 1
