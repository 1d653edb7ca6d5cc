"""`machine` of the simulated chip.  What a port does not have, `trim` takes away again."""

import machine as _host

from . import clock, layout, power, radio, shared
from .buses import ADC, I2C, PWM, SPI, UART, SoftI2C, SoftSPI  # noqa: F401
from .pins import Pin  # noqa: F401
from .power import Watchdog as WDT  # noqa: F401
from .power import deepsleep as _deepsleep
from .power import lightsleep as _lightsleep
from .power import reset, soft_reset  # noqa: F401
from .registers import mem8, mem16, mem32  # noqa: F401
from .rtc import RTC  # noqa: F401
from .timers import Timer  # noqa: F401

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5
PIN_WAKE = 2
EXT0_WAKE = 2
EXT1_WAKE = 3
TIMER_WAKE = 4
TOUCHPAD_WAKE = 5
ULP_WAKE = 6

Signal = _host.Signal
_ESP32_ONLY = (
    "HARD_RESET DEEPSLEEP_RESET SOFT_RESET PIN_WAKE EXT0_WAKE EXT1_WAKE TIMER_WAKE "
    "TOUCHPAD_WAKE ULP_WAKE wake_reason"
)


def trim():
    """Remove the names that this chip's port lacks, so that using one fails here as there."""
    if power.board["port"] != "esp32":
        for name in _ESP32_ONLY.split():
            globals().pop(name)


def reset_cause():
    return shared.S.reset_cause


def wake_reason():
    return shared.S.wake_reason


def deepsleep(time_ms=-1):
    _deepsleep(time_ms)


def lightsleep(time_ms=-1):
    """Where the link does not survive it (esp32), the radio is off and must join again."""
    drops = radio.state != radio.OFF and not power.board["quirks"]["wlan_survives_lightsleep"]
    if drops:
        power.radio(layout.RADIO_OFF)
    _lightsleep(time_ms)
    if drops:
        radio.lose()


def idle():
    clock.sleep_ms(1)


def unique_id():
    return bytes.fromhex(power.board["uid"])


def freq(hz=None):
    if hz is None:
        return shared.S.freq_mhz * 1000000
    if hz // 1000000 not in power.board["freq"]["allowed_mhz"]:
        raise ValueError("frequency")
    power.set_clock(hz // 1000000)
    return None


def bootloader(timeout=0):
    power.die(layout.EXIT_BOOTLOADER)


def disable_irq():
    return 0


def enable_irq(state):
    pass


def time_pulse_us(pin, level, timeout_us=1000000):
    return -2
