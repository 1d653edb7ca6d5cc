"""Where everything lies in the file that a simulated chip and its power supply share.

Both sides map the same file: the VM through mmap by ffi, the runner through `mmap`.  It plays the
part of what survives a reset on a chip (RTC memory, scratch registers, the clock) and of the wires
between a chip and its surroundings (pins, sensor values, radio, meter).  Read by MicroPython and
CPython alike, so it holds data only.

All words are 32-bit little-endian and have one writer at a time, so there are no locks.  Times are
milliseconds since this boot unless the name says otherwise; wide words are 64-bit because they
count from 1970.
"""

MAGIC = 0x4F535431
STATE_BYTES = 32768

WORDS = (
    "magic",
    "reset_cause",  # what machine.reset_cause() answers
    "wake_reason",
    "boots",
    "skip_main",  # a soft reset out of the raw REPL runs boot.py only
    "repl_reading",  # the console waits for input: Ctrl-C goes in-band
    "stage",  # STAGE_*
    "fast",
    "fast_rate",  # virtual ms per real ms while a socket is waiting
    "skip_ms",  # virtual time added to real time in this boot
    "drift_ppm",
    "wdt_ms",
    "wdt_due_ms",
    "wdt_fed",
    "chip_wdt_reason",  # rp2 WATCHDOG.REASON
    "flash_ops",  # programs and erases since the board was made
    "flash_cut_at",  # power goes at this value of flash_ops; 0 = never
    "flash_cut_mode",
    "flash_violations",
    "flash_misaligned",
    "flash_erases",
    "flash_program_kib",
    "flash_program_bytes",
    "freq_mhz",
    "cpu_state",
    "cpu_since_ms",
    "radio_state",
    "radio_since_ms",
    "rails_on",  # bit per rail
    "rails_since_ms",
    "tx_us",
    "rx_us",
    "tx_bytes",
    "rx_bytes",
    "wlan_status",
    "rtc_len",
    "wake_pin",  # EXT0: pin + 1; 0 = none
    "wake_level",
    "bootsel",
    "ota_boot",
    "pin_events",  # the runner raises it after it has changed a pin's input
    "bus_faults",
    "heap_floor",
    "sync_ms",  # when the scenario changes next; 0 = never
    "sync_count",  # the runner raises it when it has changed the world
    "ota_flags",  # OTA state that lives until power is lost
)
WIDE = (
    "boot_world_ms",  # world time (ms since 1970) at this boot
    "boot_mono_us",  # host's monotonic clock at this boot
    "rtc_boot_ms",  # the chip's own clock (ms since 1970) at this boot
    "rtc_set_ms",  # added by RTC().datetime(...) in this boot
    "sleep_ms",  # asked of deepsleep; -1 = until an external event
)
_WORDS_AT = 0
_WIDE_AT = 512
CPU_MS_AT = 768  # int32 per CPU_STATES
RADIO_MS_AT = 800  # int32 per RADIO_STATES
RAIL_MS_AT = 832  # int32 per rail
SCRATCH_AT = 896  # rp2 WATCHDOG.SCRATCH0..7
CLOCK_MS_AT = 928  # int32 per entry of freq.allowed_mhz: CPU_SLOW by clock
CLOCKS = 8
PIN_AT = 960  # one PIN_BYTES record per pin
PIN_BYTES = 4  # mode, output level, input level, pull
PINS = 64
UART_AT = 1280
RTC_MEMORY_AT = 2048
RTC_MEMORY_BYTES = 2048
WORLD_COUNT_AT = 4096
WORLD_AT = 4104
WORLD_ENTRY_BYTES = 52  # name, NUL padded, then an int32
WORLD_NAME_BYTES = 48
WORLD_ENTRIES = 512

CPU_STATES = ("active", "active_slow", "light_sleep", "deep_sleep", "off")
CPU_ACTIVE, CPU_SLOW, CPU_LIGHT, CPU_DEEP, CPU_OFF = range(5)
RADIO_STATES = ("off", "idle", "connecting", "on")
RADIO_OFF, RADIO_IDLE, RADIO_CONNECTING, RADIO_ON = range(4)
RAILS = 8

STAGE_OFF, STAGE_BOOT, STAGE_MAIN, STAGE_REPL = range(4)

# How a boot ended, as the exit status of its process.
EXIT_RESET = 0x40
EXIT_DEEPSLEEP = 0x41
EXIT_SOFT_RESET = 0x42
EXIT_POWER_CUT = 0x43
EXIT_WATCHDOG = 0x44
EXIT_BROWNOUT = 0x45
EXIT_BOOTLOADER = 0x46
EXIT_PANIC = 0x47

CUT_LOST, CUT_TORN, CUT_AFTER, CUT_GARBAGE = range(4)
CUT_MODES = ("lost", "torn", "after", "garbage")


def word_at(name):
    return _WORDS_AT + 4 * WORDS.index(name)


def wide_at(name):
    return _WIDE_AT + 8 * WIDE.index(name)
