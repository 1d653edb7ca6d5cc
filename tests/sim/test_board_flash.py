"""Flash, power cuts, NVS and OTA slots of the simulated board."""

import hashlib
import struct

import pytest
from outpost.boards import load_board
from outpost.errors import OutpostError
from outpost.sim import SimBoard

BOTH = pytest.mark.parametrize("name", ["esp32_generic", "rpi_pico_w"])

REWRITE = """
import os
try:
    old = open('f', 'rb').read()
except OSError:
    old = b''
print('found', len(old), set(old) in ({97}, {98}, set()))
with open('f.new', 'wb') as f:
    f.write((b'b' if old[:1] == b'a' else b'a') * 1000)
os.rename('f.new', 'f')
print('done')
"""


@BOTH
def test_a_cut_at_each_operation_leaves_old_or_new(boards, name):
    board = boards(name, REWRITE)
    board.wait_for("line:done")
    board.power_cycle()
    before = board.flash_ops
    board.wait_for("line:done")
    operations = board.flash_ops - before
    assert operations > 1
    for mode in ("lost", "torn", "after", "garbage"):
        for at_op in range(1, operations + 1):
            board.cut_power(at_op, mode)
            board.power_cycle()
            board.wait_for("power_cut")
            board.wait_for("line:done")
    found = [line for line in board.lines if line.startswith("found")]
    assert all(line.endswith("True") for line in found)
    assert {line.split()[1] for line in found} == {"0", "1000"}
    assert board.state["flash_violations"] == board.state["flash_misaligned"] == 0


def test_a_cut_is_not_catchable(boards):
    program = """
try:
    try:
        with open('f', 'wb') as f:
            f.write(bytes(5000))
    except BaseException as e:
        print('caught', e)
finally:
    print('finally')
print('done')
"""
    board = boards("rpi_pico_w", program, start=False)
    board.cut_power(1)
    board.start()
    board.wait_for("power_cut")
    board.wait_for("line:done")
    assert not [line for line in board.lines if "caught" in line]
    assert board.lines.count("finally") == 1


def test_an_illegal_program_is_counted_not_hidden(boards):
    program = """
import rp2
flash = rp2.Flash()
flash.writeblocks(200, bytes(256), 0)
flash.writeblocks(200, b'\\xff' * 256, 0)
check = bytearray(4)
flash.readblocks(200, check, 0)
print('stored', bytes(check))
"""
    board = boards("rpi_pico_w", program)
    board.wait_for("line:stored b'\\x00\\x00\\x00\\x00'")
    assert board.state["flash_violations"] == 1


@pytest.mark.parametrize(
    ("at_op", "mode", "first", "second"),
    [
        (3, "lost", {0}, {0}),
        (3, "torn", {255}, {0}),
        (3, "after", {255}, {255}),
        (3, "garbage", {255}, None),
        (4, "lost", {255}, {255}),
        (4, "torn", {0x0F}, {255}),
        (4, "after", {0x0F}, {0x0F}),
        (4, "garbage", {0x0F}, None),
    ],
)
def test_what_a_cut_leaves_of_an_operation(boards, at_op, mode, first, second):
    """Operation 3 erases a block of zeros, operation 4 programs it; None = neither."""
    program = """
import rp2
flash = rp2.Flash()
mark = bytearray(256)
flash.readblocks(201, mark, 0)
if mark[0] == 255:
    flash.writeblocks(201, bytes(256), 0)
    flash.writeblocks(200, bytes(4096), 0)
    flash.writeblocks(200, b'\\x0f' * 4096)
"""
    board = boards("rpi_pico_w", program, start=False)
    board.cut_power(at_op, mode)
    board.start()
    board.wait_for("power_cut")
    block = _block(board, 200)
    assert set(block[:2048]) == first
    if second is None:
        assert len(set(block[2048:])) > 10
    else:
        assert set(block[2048:]) == second


def _block(board, number):
    return board.flash_path.read_bytes()[number * 4096 : (number + 1) * 4096]


def test_rp2_reformats_what_it_cannot_mount(boards):
    board = boards("rpi_pico_w", "print('here')", start=False)
    with board.flash_path.open("r+b") as flash:
        flash.write(b"\xff" * 8192)
    board.start()
    board.wait_for("line:formatting")
    board.wait_for("repl")
    assert "here" not in board.lines


def test_esp32_prints_for_ever_over_a_corrupted_file_system(boards):
    board = boards("esp32_generic", "print('here')", start=False)
    with board.flash_path.open("r+b") as flash:
        flash.write(b"\x55" * 8192)
    board.start()
    board.wait_for("line:corrupted")
    board.wait_for("line:corrupted")


def test_a_blank_chip_formats_itself(tmp_path):
    board = SimBoard("esp32_generic", tmp_path / "blank.img")
    with board:
        board.wait_for("repl")
    assert b"littlefs" in board.flash_path.read_bytes()[:8192]


def test_an_image_of_another_board_is_refused(tmp_path):
    image = tmp_path / "small.img"
    image.write_bytes(bytes(1000))
    with pytest.raises(OutpostError) as refused:
        SimBoard("rpi_pico_w", image)
    assert refused.value.code == "sim-flash-size"


def test_nvs_keeps_values_over_power_and_compaction(boards):
    program = """
import esp32
nvs = esp32.NVS('app')
try:
    n = nvs.get_i32('boots')
except OSError as e:
    n = 0
    print('missing', e.args[0])
nvs.set_i32('boots', n + 1)
for i in range(400):
    nvs.set_blob('blob', bytes([i & 255]) * 60)
nvs.commit()
buf = bytearray(60)
print('boots', n + 1, nvs.get_blob('blob', buf), buf[0])
nvs.set_i32('gone', 1); nvs.erase_key('gone')
try: nvs.get_i32('gone')
except OSError as e: print('erased', e.args[0])
print('done')
"""
    board = boards("esp32_generic", program, time="fast")
    board.wait_for("line:done")
    board.power_cycle()
    board.wait_for("line:done")
    assert "boots 2 60 143" in board.lines
    assert board.lines.count("missing -4354") == 1
    assert board.lines.count("erased -4354") == 2


def app_image(fill):
    """The smallest image that the bootloader accepts: one segment, checksum, SHA-256."""
    data = bytes([fill]) * 64
    body = bytes([0xE9, 1]) + bytes(21) + b"\x01" + struct.pack("<II", 0x3F400000, 64) + data
    checksum = 0xEF
    for byte in data:
        checksum ^= byte
    body += bytes(15 - len(body) % 16) + bytes([checksum])
    return body + hashlib.sha256(body).digest()


OTA = """
import os, machine, time
from esp32 import Partition
running = Partition(Partition.RUNNING).info()[4]
print('running', running)
step = open('step').read() if 'step' in os.listdir() else ''
def go(name):
    with open('step', 'w') as f:
        f.write(name)
if step == '':
    new = Partition(Partition.RUNNING).get_next_update()
    new.writeblocks(0, bytes(4096))
    try:
        new.set_boot()
    except OSError as e:
        print('refused', e.args[0])
    image = open('app.bin', 'rb').read()
    new.writeblocks(0, image + b'\\xff' * (4096 - len(image)))
    new.set_boot()
    go('slept')
    machine.deepsleep(100)
elif step == 'slept':
    go('trial')
    machine.reset()
elif step == 'trial':
    go('reverted')
    machine.reset()
elif step == 'reverted':
    new = Partition(Partition.RUNNING).get_next_update()
    new.set_boot()
    go('kept')
    machine.reset()
elif step == 'kept':
    Partition.mark_app_valid_cancel_rollback()
    go('confirmed')
    machine.reset()
else:
    print('done')
"""


def test_ota_trial_reverts_unless_confirmed(boards):
    """A wake from deep sleep boots the old slot; one unconfirmed boot, then back."""
    image = app_image(7)
    board = boards("esp32_generic_ota", OTA, files={"/app.bin": image}, start=False)
    slot = board.folder / "ota_0.bin"
    slot.write_bytes(image.ljust(slot.stat().st_size, b"\xff"))
    board.start()
    board.wait_for("line:done")
    running = [line.split()[1] for line in board.lines if line.startswith("running")]
    assert running == ["ota_0", "ota_0", "ota_1", "ota_0", "ota_1", "ota_1"]
    assert "refused -5379" in board.lines


@BOTH
def test_the_heap_is_the_boards(boards, name):
    program = """
import gc
gc.collect()
free = gc.mem_free()
print('free', free)
try:
    bytearray(free + 1000)
except MemoryError:
    print('limit')
"""
    board = boards(name, program)
    board.wait_for("line:limit")
    free = next(int(line.split()[1]) for line in board.lines if line.startswith("free"))
    wanted = load_board(name).heap_bytes * board.vm.heap_scale
    assert 0.93 * wanted < free <= wanted


@BOTH
def test_block_operations_cost_the_chips_time(boards, name):
    program = """
import time
t = time.ticks_ms()
with open('big', 'wb') as f:
    for _ in range(8):
        f.write(bytes(4096))
print('ms', time.ticks_diff(time.ticks_ms(), t))
"""
    board = boards(name, program)
    board.wait_for("line:ms")
    took = next(int(line.split()[1]) for line in board.lines if line.startswith("ms"))
    assert took > 8 * 45
