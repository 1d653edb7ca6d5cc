"""The NOR model keeps the part's rules; the fault sweeps stand on it."""

import pytest
from outpost.sim.chip.nor import AFTER, GARBAGE, LOST, TORN, Nor, PowerCut


def test_program_only_clears_bits_and_counts_what_is_illegal():
    nor = Nor(2)
    nor.writeblocks(0, b"\x0f" * 256, 0)
    nor.writeblocks(0, b"\x0c" * 256, 0)
    assert (nor.data[0], nor.violations) == (0x0C, 0)
    nor.writeblocks(0, b"\xf0" * 256, 0)
    assert (nor.data[0], nor.violations) == (0x00, 1)


def test_erase_sets_one_block_and_counts_wear():
    nor = Nor(3)
    nor.writeblocks(1, bytes(4096), 0)
    assert nor.ioctl(6, 1) == 0
    assert nor.data[4096:8192] == b"\xff" * 4096
    assert (nor.wear, nor.ops) == ([0, 1, 0], 2)


def test_simple_protocol_erases_by_itself():
    nor = Nor(2)
    nor.writeblocks(0, bytes(4096), 0)
    nor.writeblocks(0, b"\x55" * 4096)
    assert (nor.data[0], nor.violations, nor.wear[0]) == (0x55, 0, 1)


@pytest.mark.parametrize(("mode", "written"), [(LOST, 0), (TORN, 128), (AFTER, 256)])
def test_cut_program(mode, written):
    nor = Nor(1)
    nor.cut(1, mode)
    with pytest.raises(PowerCut):
        nor.writeblocks(0, bytes(256), 0)
    assert nor.data[:256].count(0) == written
    assert nor.data[256:].count(0xFF) == 4096 - 256


def test_torn_erase_leaves_the_second_half():
    nor = Nor(1)
    nor.writeblocks(0, bytes(4096), 0)
    nor.cut(1, TORN)
    with pytest.raises(PowerCut):
        nor.ioctl(6, 0)
    assert nor.data[:2048] == b"\xff" * 2048 and nor.data[2048:] == bytes(2048)


def test_garbage_is_reproducible_and_is_not_the_data():
    images = []
    for _ in range(2):
        nor = Nor(1)
        nor.cut(1, GARBAGE)
        with pytest.raises(PowerCut):
            nor.writeblocks(0, bytes(256), 0)
        images.append(nor.image())
    assert images[0] == images[1]
    assert images[0][128:256] != bytes(128) and images[0][128:256] != b"\xff" * 128


def test_dead_until_power_comes_back():
    nor = Nor(1)
    nor.cut(1)
    with pytest.raises(PowerCut):
        nor.ioctl(6, 0)
    buf = bytearray(16)
    assert nor.readblocks(0, buf) == nor.writeblocks(0, buf, 0) == nor.ioctl(4, 0) == -5
    nor.power_on()
    assert nor.readblocks(0, buf) == 0 and bytes(buf) == b"\xff" * 16


def test_restore_starts_the_count_again():
    nor = Nor(1)
    before = nor.image()
    nor.writeblocks(0, bytes(256), 0)
    nor.restore(before)
    assert (nor.image(), nor.ops, nor.wear) == (before, 0, [0])
