"""Model of a battery behind a divider, `upper_kohm` and `lower_kohm` (100 each).

World: millivolts (of the battery). A fault ABSENT is a wire that has come off: the lower resistor
pulls the pin to ground. `noise_uv` in the description swings the pin by that much.
"""

from ..bus import FAULT_ABSENT, FAULT_IMPLAUSIBLE, AdcPart


class Part(AdcPart):
    def __init__(self, surroundings, config):
        AdcPart.__init__(self, surroundings, config)
        self._upper = config.get("upper_kohm", 100)
        self._lower = config.get("lower_kohm", 100)
        self._turn = 0

    def microvolts(self, now_ms):
        if self.fault == FAULT_ABSENT:
            return 0
        if self.fault == FAULT_IMPLAUSIBLE:
            return 3300000
        self._turn += 1
        noise = self.config.get("noise_uv", 0) * (self._turn % 3 - 1)
        microvolts = self.world("millivolts", 3900) * 1000
        return microvolts * self._lower // (self._upper + self._lower) + noise
