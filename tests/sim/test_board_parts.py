"""A product's own models on SPI, UART, one-wire, ADC and bit-banged pins."""

import pytest
from outpost.sim import Wiring

MODELS = {
    "echo_spi": """
from chip.bus import SpiPart
class Part(SpiPart):
    def transfer(self, data):
        return bytes(b ^ 0xFF for b in data)
""",
    "talker": """
from chip.bus import UartPart
class Part(UartPart):
    def __init__(self, around, config):
        UartPart.__init__(self, around, config)
        self.sent = 0
        self.heard = b''
    def received(self, data):
        self.heard += data
    def pending(self, now_ms):
        due = now_ms // 1000 - self.sent
        self.sent += due
        return b'tick\\n' * due + self.take()
    def take(self):
        out, self.heard = self.heard.upper(), b''
        return out
""",
    "button_rom": """
from chip.bus import OneWirePart
class Part(OneWirePart):
    def __init__(self, around, config):
        OneWirePart.__init__(self, around, config)
        body = bytes([0x28]) + bytes.fromhex(config['rom'])
        self.rom = body + bytes([crc8(body)])
        self.bits = []
    def reset(self):
        self.bits = []
    def command(self, byte):
        value = self.world('value', 0)
        self.bits = [value >> n & 1 for n in range(8)] if byte == 0xBE else []
    def read_bit(self):
        return self.bits.pop(0) if self.bits else 1
def crc8(data):
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc
""",
    "divider": """
from chip.bus import AdcPart
class Part(AdcPart):
    def microvolts(self, now_ms):
        return self.world('microvolts', 0)
""",
    "counter": """
from chip.bus import PinPart
class Part(PinPart):
    def __init__(self, around, config):
        PinPart.__init__(self, around, config)
        self.edges = 0
        self.high = 0
    def drive(self, wire, level, now_ms):
        if wire == 'clk':
            self.edges += level and not self.high
            self.high = level
    def level(self, wire, now_ms):
        return self.edges & 1 if wire == 'data' else None
""",
}


@pytest.fixture
def wired(boards, tmp_path):
    """`wired(program, device, ...)`: a board with these models and parts."""

    def make(program, *devices, board="esp32_generic", **options):
        paths = []
        for name in {device["model"] for device in devices}:
            paths.append(tmp_path / f"{name}.py")
            paths[-1].write_text(MODELS[name])
        return boards(board, program, wiring=Wiring(devices=devices, models=paths), **options)

    return make


def test_spi_answers_only_the_selected_part(wired):
    board = wired(
        """
from machine import SPI, Pin
spi, cs = SPI(2, baudrate=1000000), Pin(5, Pin.OUT, value=1)
buf = bytearray(2)
spi.write_readinto(b'\\x01\\x02', buf); print('free', bytes(buf))
cs(0); spi.write_readinto(b'\\x01\\x02', buf); print('held', bytes(buf)); cs(1)
print('read', spi.read(2)); print('done')
""",
        {"model": "echo_spi", "bus": "spi2", "cs": 5},
    )
    board.wait_for("line:done")
    assert "free b'\\xff\\xff'" in board.lines
    assert "held b'\\xfe\\xfd'" in board.lines


def test_uart_keeps_what_comes_and_overruns(wired):
    board = wired(
        """
from machine import UART
import time
u = UART(2, 9600, rxbuf=64)
print('first', u.any(), u.read())
u.write(b'hello')
time.sleep_ms(1100)
print('line', u.readline(), u.read())
time.sleep(60)
print('overrun', u.any()); print('done')
""",
        {"model": "talker", "bus": "uart2"},
        time="fast",
    )
    board.wait_for("line:done")
    assert "first 0 None" in board.lines
    assert "line b'tick\\n' b'HELLO'" in board.lines
    assert "overrun 64" in board.lines


def test_one_wire_search_finds_every_part(wired):
    roms = ("010203040506", "010203040507", "ff0000000000")
    board = wired(
        """
import onewire
from machine import Pin
bus = onewire.OneWire(Pin(4))
found = bus.scan()
print('roms', sorted(bytes(r[1:7]).hex() for r in found), all(not bus.crc8(r) for r in found))
for rom in sorted(found, key=lambda r: bytes(r)):
    bus.select_rom(rom); bus.writebyte(0xBE); print('value', bus.readbyte())
""",
        *[
            {"model": "button_rom", "name": f"b{n}", "pin": 4, "rom": rom}
            for n, rom in enumerate(roms)
        ],
        start=False,
    )
    for n in range(3):
        board.world[f"b{n}.value"] = 10 + n
    board.start()
    for n in range(3):
        board.wait_for(f"line:value {10 + n}")
    assert f"roms {sorted(roms)} True" in board.lines


@pytest.mark.parametrize(
    ("board", "pin", "microvolts", "least", "most"),
    [
        ("esp32_generic", 34, 475_000, 32_000, 33_500),
        ("rpi_pico_w", 26, 1_650_000, 32_000, 33_500),
        ("rpi_pico_w", 26, 9_000_000, 65_535, 65_535),
    ],
)
def test_adc_reads_the_pin(wired, board, pin, microvolts, least, most):
    program = f"from machine import ADC, Pin\nprint('raw', ADC(Pin({pin})).read_u16())\n"
    made = wired(program, {"model": "divider", "pin": pin}, board=board, start=False)
    made.world["divider.microvolts"] = microvolts
    made.start()
    made.wait_for("line:raw")
    raw = next(int(line.split()[1]) for line in made.lines if line.startswith("raw"))
    assert least <= raw <= most


def test_bit_banged_wires(wired):
    board = wired(
        """
from machine import Pin
clk, data = Pin(18, Pin.OUT, value=0), Pin(19, Pin.IN)
seen = []
for _ in range(4):
    clk(1); clk(0); seen.append(data())
print('seen', seen)
""",
        {"model": "counter", "pins": {"clk": 18, "data": 19}},
    )
    board.wait_for("line:seen [1, 0, 1, 0]")


def test_a_pin_wakes_an_esp32_that_sleeps_for_ever(boards):
    board = boards(
        "esp32_generic",
        """
import esp32, machine
from machine import Pin
print('cause', machine.reset_cause(), machine.wake_reason() == machine.EXT0_WAKE)
if machine.reset_cause() == machine.PWRON_RESET:
    esp32.wake_on_ext0(Pin(4, Pin.IN), 1)
    machine.deepsleep()
print('done')
""",
    )
    board.wait_for("deepsleep:-1")
    board.drive_pin(5, 1)
    board.drive_pin(4, 1)
    board.wait_for("line:done")
    assert [line for line in board.lines if "cause" in line] == ["cause 1 False", "cause 4 True"]


def test_the_link_does_not_survive_a_light_sleep_on_esp32(boards):
    program = """
import network, machine, time
w = network.WLAN(0); w.active(True); w.connect('sim', 'simulated')
while not w.isconnected(): time.sleep_ms(20)
machine.lightsleep(5000)
print('after', w.isconnected())
"""
    boards("esp32_generic", program, time="fast").wait_for("line:after False")
    boards("rpi_pico_w", program, time="fast").wait_for("line:after True")
