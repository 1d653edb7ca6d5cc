"""One boot: clocks and pins as after a reset, the file system as root, boot.py, main.py, REPL."""

import sys

import vfs

from . import clock, flash, layout, libc, ota, power, shared
from .console import Console

device = None


def filesystem():
    """The block device of the board's own filesystem, as `_boot.py` of its port finds it."""
    global device
    part = power.board["flash"]
    device = flash.Nor(part["path"], part["fs_bytes"], part["block"], part["prog"])
    return device


def boot(part, modules):
    _power_up_registers()
    clock.arm_sync()
    ota.boot()
    modules["sys"].runtime_chosen()
    _mount(part)
    # Everything a program can import is in place before its first line runs.
    sys.modules.clear()
    sys.modules.update(modules)
    sys.path[:] = power.board["sys_path"]
    try:
        _run(Console(modules["__main__"]))
    finally:
        libc.exit_now(layout.EXIT_PANIC)  # a child never returns to the power supply's loop


def _run(console):
    shared.S.stage = layout.STAGE_BOOT
    console.run_file("boot.py")
    if not shared.S.skip_main:
        shared.S.stage = layout.STAGE_MAIN
        shared.tell("main")
        console.run_file("main.py")
    shared.S.stage = layout.STAGE_REPL
    shared.tell("repl")
    console.interact(raw=bool(shared.S.skip_main))


def _power_up_registers():
    clock.start()
    state = shared.S
    state.cpu_since_ms = state.radio_since_ms = state.rails_since_ms = 0
    state.rails_on = 0
    state.radio_state = layout.RADIO_OFF
    state.freq_mhz = power.board["freq"]["default_mhz"]
    state.cpu_state = layout.CPU_ACTIVE
    state.wdt_ms = 0
    state.boots += 1


def _mount(part):
    """As the port's `_boot.py`: rp2 formats whatever it cannot mount, esp32 prints for ever."""
    options = {"progsize": part.prog, "readsize": power.board["flash"]["read"]}
    vfs.umount("/")
    try:
        vfs.mount(vfs.VfsLfs2(part, **options), "/")
    except OSError:
        if power.board["quirks"].get("reformats_unmountable"):
            print("formatting")
        elif not _blank(part):
            while True:
                print("The filesystem appears to be corrupted.")
                clock.sleep_ms(3000)
        vfs.VfsLfs2.mkfs(part, **options)
        vfs.mount(vfs.VfsLfs2(part, **options), "/")


def _blank(part):
    first = bytearray(64)
    for offset in range(0, part.block, 64):
        part.readblocks(0, first, offset)
        if first != b"\xff" * 64:
            return False
    return True
