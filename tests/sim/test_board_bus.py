"""Parts on the simulated buses, seen through machine's own classes, with their faults."""

import pytest
from outpost.boards import load_board
from outpost.sim import Wiring

AIR = Wiring(devices=[{"model": "bme280", "name": "air", "bus": "i2c0", "address": 0x76}])


def values(board, prefix):
    return [line.split(" ", 1)[1] for line in board.lines if line.startswith(prefix)]


@pytest.mark.parametrize(("name", "gone"), [("esp32_generic", "19"), ("rpi_pico_w", "5")])
def test_i2c_finds_and_misses_as_the_port_does(boards, name, gone):
    board = boards(
        name,
        """
from machine import I2C, SoftI2C, Pin
i = I2C(0)
print('scan', i.scan())
print('id', i.readfrom_mem(0x76, 0xD0, 1))
buf = bytearray(1)
i.readfrom_mem_into(0x76, 0xD0, buf); print('id', bytes(buf))
i.writeto(0x76, b'\\xd0', False); print('id', i.readfrom(0x76, 1))
try: i.writeto(0x40, b'x')
except OSError as e: print('nak', e.errno)
print('other', I2C(1).scan())
print('done')
""",
        wiring=AIR,
    )
    board.wait_for("line:done")
    assert values(board, "scan") == ["[118]"]
    assert values(board, "id") == ["b'`'"] * 3
    assert values(board, "nak") == [gone]
    assert values(board, "other") == ["[]"]


def test_faults_come_and_go_while_it_runs(boards):
    board = boards(
        "esp32_generic",
        """
from machine import I2C, Pin
import time
i = I2C(0)
last = None
while True:
    try:
        now = i.readfrom_mem(0x76, 0xD0, 1)
    except OSError as e:
        now = e.errno
    if now != last:
        print('see', now)
        last = now
    time.sleep_ms(20)
""",
        wiring=AIR,
    )
    board.wait_for("line:see b'`'")
    board.world["air.fault"] = 1
    board.wait_for("line:see 19")
    board.world["air.fault"] = 0
    board.wait_for("line:see b'`'")


def test_a_hung_bus_is_freed_by_nine_clocks_only(boards):
    board = boards(
        "rpi_pico_w",
        """
from machine import I2C, Pin
i = I2C(0)
def look():
    try: return i.readfrom_mem(0x76, 0xD0, 1)
    except OSError as e: return e.errno
print('first', look())
def clocks(n):
    scl = Pin(5, Pin.OPEN_DRAIN, value=1)
    for _ in range(n):
        scl.value(0); scl.value(1)
print('held', Pin(4, Pin.IN, Pin.PULL_UP).value(), look())
clocks(8); print('held', Pin(4, Pin.IN).value())
clocks(1); print('held', Pin(4, Pin.IN).value())
while look() != b'`': clocks(9)
print('freed')
""",
        wiring=AIR,
        start=False,
    )
    board.world["air.fault"] = 4
    board.start()
    board.wait_for("line:first 5")
    board.wait_for("line:held 1")
    board.world["air.fault"] = 0
    board.wait_for("line:freed")
    assert values(board, "held") == ["0 110", "0", "1"]


def test_world_values_reach_a_part(boards):
    """Raw registers differ when the world does: the model computes, nothing is canned."""
    board = boards(
        "esp32_generic",
        """
from machine import I2C, Pin
import time
i = I2C(0)
def raw():
    i.writeto_mem(0x76, 0xF2, b'\\x01'); i.writeto_mem(0x76, 0xF4, b'\\x25')
    time.sleep_ms(20)
    return i.readfrom_mem(0x76, 0xFA, 3)
a = raw()
print('first')
while raw() == a: time.sleep_ms(10)
print('changed')
""",
        wiring=AIR,
    )
    board.wait_for("line:first")
    board.world["air.temperature_mc"] = 35_000
    board.wait_for("line:changed")


def test_rails_are_metered(boards):
    board = boards(
        "esp32_generic",
        """
from machine import Pin
import time, machine
rail = Pin(21, Pin.OUT, value=1)
time.sleep_ms(2000)
rail.off()
time.sleep_ms(5000)
machine.deepsleep()
""",
        wiring=Wiring(rails=((21, 700),)),
        time="modelled",
    )
    board.wait_for("deepsleep")
    board.stop()
    assert 2000 <= board.meter.time_ms["rail_0"] < 2100
    assert board.meter.charge_uams["rail_0"] == board.meter.time_ms["rail_0"] * 700


def test_the_meter_adds_up(boards):
    board = boards(
        "esp32_generic",
        """
import machine, time, network
if machine.reset_cause() == machine.PWRON_RESET:
    w = network.WLAN(0); w.active(True); w.connect('sim', 'simulated')
    while not w.isconnected(): time.sleep_ms(10)
    time.sleep_ms(1000)
    w.active(False)
    machine.freq(80000000); time.sleep_ms(3000); machine.freq(160000000)
    machine.lightsleep(4000)
    machine.deepsleep(60000)
print('done')
""",
        time="modelled",  # what the host takes for it is no part of the sum
    )
    board.wait_for("line:done")
    board.stop()
    before = board.events[0].world_ms
    meter, current = board.meter, board.board.chip.current_ua
    assert meter.time_ms["deep_sleep"] == 60_000
    assert 4000 <= meter.time_ms["light_sleep"] < 4020
    assert 3000 <= meter.time_ms["active_slow"] < 3020
    assert 1150 <= meter.time_ms["radio_connecting"] < 1300
    assert 1000 <= meter.time_ms["radio_idle"] < 1050
    expected = (
        sum(
            meter.time_ms[name] * getattr(current, name)
            for name in ("active", "active_slow", "light_sleep", "deep_sleep", "radio_idle")
        )
        + meter.time_ms["radio_connecting"] * current.radio_connecting
    )
    on = meter.time_ms["radio_on"] * current.radio_on
    assert sum(meter.charge_uams.values()) == expected + on
    # Every virtual millisecond is in exactly one CPU state.
    assert abs(meter.elapsed_ms - (board.world_ms() - before)) < 30


@pytest.mark.parametrize("name, mhz", [("esp32_generic", 80), ("rpi_pico_w", 64)])
def test_a_slower_clock_takes_longer_and_costs_less_while_it_waits(boards, name, mhz):
    """In modelled time reading flash takes the CPU; at another clock it takes that much longer.
    The meter prices each clock by a line through the two that the chip's data have."""
    board = boards(
        name,
        f"""
import machine, os, time
def read():
    began = time.ticks_ms()
    for _ in range(200):
        os.stat('/main.py')
    return time.ticks_diff(time.ticks_ms(), began)
fast = read()
machine.freq({mhz} * 1000000)
slow = read()
time.sleep_ms(2000)
machine.freq({load_board(name).chip.freq.default_mhz} * 1000000)
print('took', fast, slow)
machine.freq({mhz} * 1000000)
machine.lightsleep(100)
print('woke', machine.freq() // 1000000)
print('done')
time.sleep_ms(1000)
""",
        time="modelled",
    )
    board.wait_for("line:done")
    board.stop()
    chip = board.board.chip
    (fast, slow), (woke,) = (
        [int(part) for part in line.split()[1:]]
        for line in board.lines
        if line.startswith(("took", "woke"))
    )
    assert fast >= 10
    assert abs(slow / fast - chip.freq.default_mhz / mhz) < 0.1
    assert woke == (chip.freq.default_mhz if chip.port == "rp2" else mhz)
    meter = board.meter
    assert meter.time_ms["active_slow"] >= slow + 2000
    assert meter.charge_uams["active_slow"] == meter.time_ms["active_slow"] * chip.active_ua(mhz)
    assert chip.current_ua.active_slow <= chip.active_ua(mhz) < chip.current_ua.active
