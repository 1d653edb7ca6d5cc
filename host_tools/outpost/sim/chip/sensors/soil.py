"""Model of a capacitive soil moisture sensor: `dry_mv` (2300) in air, `wet_mv` (900) in water.

World: moisture_milli (thousandths, 0 dry to 1000 wet). A fault ABSENT is an unplugged sensor.
"""

from ..bus import FAULT_ABSENT, FAULT_IMPLAUSIBLE, AdcPart


class Part(AdcPart):
    def microvolts(self, now_ms):
        if self.fault == FAULT_ABSENT:
            return 0
        if self.fault == FAULT_IMPLAUSIBLE:
            return 3300000
        dry, wet = self.config.get("dry_mv", 2300), self.config.get("wet_mv", 900)
        return (dry * 1000) - (dry - wet) * self.world("moisture_milli", 400)
