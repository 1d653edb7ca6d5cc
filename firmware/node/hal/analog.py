"""One analogue input in millivolts, whatever the chip calls it.

esp32: calibrated by its eFuse (`read_uv`), 11 dB, to about 2450 mV (MicroPython's own default is
0 dB, which ends at 950 mV). rp2: 12 bits of its 3.3 V supply; it has no calibration to read.
"""

import machine

_RP2_FULL_MV = 3300


class AnalogIn:
    def __init__(self, pin: int, port: str) -> None:
        self._calibrated = port == "esp32"
        if self._calibrated:
            self._adc = machine.ADC(machine.Pin(pin), atten=machine.ADC.ATTN_11DB)
        else:
            self._adc = machine.ADC(machine.Pin(pin))

    def millivolts(self) -> int:
        if self._calibrated:
            return self._adc.read_uv() // 1000
        return (self._adc.read_u16() * _RP2_FULL_MV + 32767) // 65535
