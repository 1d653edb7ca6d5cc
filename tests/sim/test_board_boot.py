"""Boots, resets and sleeps of the simulated board, by the causes a program reads."""

import pytest

BOTH = pytest.mark.parametrize("name", ["esp32_generic", "rpi_pico_w"])

# Runs the n-th line of what main.py was given at the n-th boot, counted on flash.
STEPS = """
import machine, os, time
try:
    step = os.stat('n')[6]
except OSError:
    step = 0
with open('n', 'ab') as f:
    f.write(b'x')
print('cause', step, machine.reset_cause())
exec(STEPS[step])
"""


def steps(*lines):
    return f"STEPS = {lines!r}\n{STEPS}print('done')\n"


def causes(board):
    return [int(line.split()[2]) for line in board.lines if line.startswith("cause")]


@BOTH
def test_main_runs_and_files_survive(boards, name):
    board = boards(name, "open('f','wb').write(b'kept'); print('written')")
    board.wait_for("line:written")
    board.stop()
    board.start()
    board.wait_for("line:written")
    assert board.resets == ["power_on", "power_on"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("esp32_generic", [1, 2, 4, 5, 3, 3, 1]), ("rpi_pico_w", [1, 3, 3, 3, 3, 3, 1])],
)
def test_reset_causes_are_the_chips_own(boards, name, expected):
    """ESP32 tells them apart; on RP2040 all but a power-on is a watchdog reset."""
    board = boards(
        name,
        steps(
            "machine.reset()",
            "machine.deepsleep(50)",
            "machine.soft_reset()",
            "machine.WDT(timeout=300)\nwhile True: pass",
            "machine.WDT(timeout=300)\nwhile True: time.sleep_ms(50)",
            "print('ready'); time.sleep(60)",
            "pass",
        ),
    )
    board.wait_for("line:ready")
    board.power_cycle()
    board.wait_for("line:done")
    assert causes(board) == expected
    kinds = ["power_on", "reset", "deepsleep", "soft", "watchdog", "watchdog", "power_on"]
    assert board.resets == kinds


def test_brownout_and_the_button_read_as_power_on(boards):
    board = boards("esp32_generic", steps(*["print('ready'); time.sleep(60)"] * 2, "pass"))
    board.wait_for("line:ready")
    board.brown_out()
    board.wait_for("line:ready")
    board.press_reset()
    board.wait_for("line:done")
    assert causes(board) == [1, 1, 1]
    assert board.resets == ["power_on", "brownout", "external"]


def test_rp2_tells_forced_from_timed_out_by_its_register(boards):
    program = "print('reason', machine.mem32[0x40058008])\n"
    board = boards(
        "rpi_pico_w",
        steps(
            program + "machine.reset()",
            program + "machine.WDT(timeout=200)\nwhile True: pass",
            program,
        ),
    )
    board.wait_for("line:done")
    assert [line for line in board.lines if "reason" in line] == [
        "reason 0",
        "reason 2",
        "reason 1",
    ]


def test_rp2_scratch_registers_survive_resets_but_not_power(boards):
    program = "print('scratch', machine.mem32[0x4005800c])\nmachine.mem32[0x4005800c] = 77\n"
    board = boards(
        "rpi_pico_w",
        steps(program + "machine.reset()", program + "print('ready'); time.sleep(60)", program),
    )
    board.wait_for("line:ready")
    board.power_cycle()
    board.wait_for("line:done")
    values = [line.split()[1] for line in board.lines if "scratch" in line]
    assert values == ["0", "77", "0"]


def test_esp32_rtc_memory_survives_everything_but_power(boards):
    program = "r = machine.RTC(); print('rtc', bytes(r.memory())); r.memory(b'kept')\n"
    board = boards(
        "esp32_generic",
        steps(
            program + "machine.deepsleep(1000)",
            program + "machine.reset()",
            program + "machine.WDT(timeout=200)\nwhile True: pass",
            program + "print('ready'); time.sleep(60)",
            program,
        ),
    )
    board.wait_for("line:ready")
    board.power_cycle()
    board.wait_for("line:done")
    kept = [line.split(" ", 1)[1] for line in board.lines if line.startswith("rtc")]
    assert kept == ["b''", "b'kept'", "b'kept'", "b'kept'", "b''"]


def test_rtc_memory_is_bounded_and_absent_on_rp2(boards):
    program = """
from machine import RTC
try: RTC().memory(bytes(2049))
except Exception as e: print(type(e).__name__)
print('done')
"""
    board = boards("esp32_generic", program)
    board.wait_for("line:done")
    assert "ValueError" in board.lines
    board = boards("rpi_pico_w", program)
    board.wait_for("line:done")
    assert "AttributeError" in board.lines


@pytest.mark.parametrize(("name", "first_year"), [("esp32_generic", 2000), ("rpi_pico_w", 2021)])
def test_cold_clock_and_what_keeps_it(boards, name, first_year):
    program = "print('year', time.gmtime()[0], time.gmtime(0)[0], type(time.time()))\n"
    setting = program + "machine.RTC().datetime((2030, 5, 6, 0, 7, 8, 9, 0))\n"
    board = boards(
        name, steps(setting + "machine.deepsleep(60)", program + "machine.reset()", program)
    )
    board.wait_for("line:done")
    years = [int(line.split()[1]) for line in board.lines if line.startswith("year")]
    epochs = {line.split()[2] for line in board.lines if line.startswith("year")}
    kept = 2030 if name == "esp32_generic" else first_year
    assert years == [first_year, kept, kept]
    assert epochs == {"2000" if name == "esp32_generic" else "1970"}
    assert all("<class 'int'>" in line for line in board.lines if line.startswith("year"))


def test_deep_sleep_is_skipped_and_counted(boards):
    board = boards("esp32_generic", steps("machine.deepsleep(86400000)", "pass"))
    before = board.events[0].world_ms  # by now it may be asleep, or awake again
    after = board.wait_for("line:done").world_ms
    assert 86_400_000 <= after - before < 86_430_000
    assert board.meter.time_ms["deep_sleep"] == 86_400_000
    assert board.meter.charge_uams["deep_sleep"] == 86_400_000 * 10


def test_wake_reason_tells_the_timer(boards):
    program = "print('why', machine.wake_reason() == machine.TIMER_WAKE)\n"
    board = boards("esp32_generic", steps(program + "machine.deepsleep(10)", program))
    board.wait_for("line:done")
    assert [line for line in board.lines if "why" in line] == ["why False", "why True"]


def test_pico_w_wakes_at_once_as_1_25_does(boards):
    board = boards("rpi_pico_w", steps("machine.deepsleep(60000)", "pass"))
    board.wait_for("line:done")
    assert board.meter.time_ms["deep_sleep"] == 64


def test_rp2_lacks_what_its_port_lacks(boards):
    board = boards(
        "rpi_pico_w",
        """
import machine, sys, vfs, os
gone = ['DEEPSLEEP_RESET', 'HARD_RESET', 'SOFT_RESET', 'wake_reason']
print([n for n in gone if hasattr(machine, n)], hasattr(vfs, 'VfsRom'), hasattr(os, 'system'))
try:
    import esp32
except ImportError:
    print(sys.platform, 'done')
""",
    )
    board.wait_for("line:rp2 done")
    assert "[] False False" in board.lines


def test_watchdog_rules_of_the_chips(boards):
    program = """
from machine import WDT
try:
    WDT(timeout=8389)
except ValueError:
    print('refused')
w = WDT(timeout=400)
w = WDT(timeout=5000)
import time
for _ in range(4):
    time.sleep_ms(300)
print('outlived')
"""
    board = boards("esp32_generic", program, time="fast")
    board.wait_for("line:outlived")
    board = boards("rpi_pico_w", program, time="fast")
    board.wait_for("line:refused")
    board.wait_for("watchdog")
    assert "outlived" not in board.lines


def test_the_watchdog_bites_in_virtual_time(boards):
    """Eight virtual seconds, not eight real ones; and a fed one never."""
    program = """
from machine import WDT
import time
w = WDT(timeout=8000)
for _ in range(3):
    time.sleep(7)
    w.feed()
print('fed')
time.sleep(3600)
"""
    board = boards("rpi_pico_w", program, time="fast")
    booted = board.wait_for("boot")
    board.wait_for("line:fed")
    bitten = board.wait_for("watchdog")
    assert 29_000 <= bitten.world_ms - booted.world_ms < 29_500


def test_sys_exit_is_a_soft_reset_and_an_exception_ends_in_the_repl(boards):
    board = boards("esp32_generic", steps("import sys; sys.exit()", "1/0"))
    board.wait_for("repl")
    assert board.resets == ["power_on", "soft"]
    text = "\n".join(board.lines)
    assert 'File "main.py"' in text and "ZeroDivisionError" in text and "chip/" not in text


def test_fast_time_skips_idle_sleeps_of_asyncio_in_order(boards):
    program = """
import asyncio, time
async def beat(name, ms, n):
    for i in range(n):
        await asyncio.sleep_ms(ms)
        print(name, time.ticks_ms() // 1000)
async def main():
    await asyncio.gather(beat('slow', 7200000, 2), beat('fast', 3600000, 3))
asyncio.run(main())
print('done')
"""
    board = boards("rpi_pico_w", program, time="fast")
    board.wait_for("line:done")
    assert [line for line in board.lines if line.split()[0] in ("slow", "fast")] == [
        "fast 3600",
        "slow 7200",
        "fast 7200",
        "fast 10800",
        "slow 14400",
    ]


def test_timer_and_pin_interrupts(boards):
    program = """
from machine import Pin, Timer
import time
ticks = []
Timer(-1).init(period=100, callback=lambda t: ticks.append(1))
pin = Pin(4, Pin.IN)
pin.irq(lambda p: print('edge', p.value()), Pin.IRQ_RISING)
Pin(5, Pin.OUT).on()
print('armed')
time.sleep_ms(1000)
print('ticks', len(ticks) in (9, 10, 11))
print('done')
"""
    board = boards("esp32_generic", program)
    board.wait_for("line:armed")
    board.drive_pin(4, 1)
    board.wait_for("line:edge 1")
    board.wait_for("line:done")
    assert board.pin(5) == 1
    assert "ticks True" in board.lines
