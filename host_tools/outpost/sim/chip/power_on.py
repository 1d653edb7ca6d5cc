"""The chip at power-on: loads the stand-ins, then forks one process per boot.

The description of the board comes by the command pipe, one line each way:

    runner -> chip   {description json}    once
    chip -> runner   ready <bytes of heap that the stand-ins hold>
    runner -> chip   boot
    chip -> runner   pid <process>         then, when that process has ended,
                     end <wait status>
    boot -> runner   main, repl            how far it came

EOF on the command pipe ends it; so does the runner's death (PDEATHSIG).  A boot is a fork,
because starting a VM costs a hundred times more, and a battery board boots 3,000 times in a month.
"""

import gc
import json

from . import clock, flash, libc, ota, power, radio, shared, start, tables, wired


def _modules():
    """What a program on this port finds by `import`; the VM's own pure modules stay."""
    import __main__

    from . import (
        m_asyncio,
        m_errno,
        m_machine,
        m_network,
        m_onewire,
        m_os,
        m_select,
        m_socket,
        m_sys,
        m_time,
        m_tls,
        m_vfs,
    )

    found = {
        "__main__": __main__,
        "_asyncio": m_asyncio,
        "errno": m_errno,
        "machine": m_machine,
        "network": m_network,
        "_onewire": m_onewire,
        "onewire": m_onewire,
        "os": m_os,
        "select": m_select,
        "socket": m_socket,
        "sys": m_sys,
        "time": m_time,
        "tls": m_tls,
        "vfs": m_vfs,
    }
    for module in (m_errno, m_network, m_sys, m_time):
        module.power_up()
    m_machine.trim()
    if power.board["port"] == "esp32":
        from . import m_esp32

        found["esp32"] = m_esp32
    else:
        from . import m_rp2

        found["rp2"] = m_rp2
    return found


def main(state_path, commands_fd, events_fd):
    libc.die_with_parent()
    commands = _Lines(commands_fd)
    power.board.update(json.loads(commands.next()))
    shared.events_fd = events_fd
    shared.attach(state_path)
    part = power.board["flash"]
    work = power.board.get("load_us_per_kib", 0), power.board["freq"]["default_mhz"]
    flash.power_up(part["erase_us"], part["program_us"], clock.skip, work)
    filesystem = start.filesystem()
    ota.power_up(filesystem)
    radio.power_up()
    wired.solder(power.board["devices"], power.board["buses"])
    modules = _modules()
    instead = tables.as_on_a_chip(power.board["heap_scale"])
    gc.collect()
    shared.own_heap = gc.mem_alloc()
    tables.hold(instead)
    shared.tell("ready %d" % shared.own_heap)
    while commands.next() == "boot":
        gc.collect()
        child = libc.fork()
        if child == 0:
            libc.die_with_parent()
            start.boot(filesystem, modules)
        shared.tell("pid %d" % child)
        status = bytearray(4)
        while libc.waitpid(child, status, 0) != child:
            pass
        shared.tell("end %d" % (status[0] | status[1] << 8))


class _Lines:
    def __init__(self, fd):
        self._fd = fd
        self._buffer = b""
        self._chunk = bytearray(4096)

    def next(self):
        while b"\n" not in self._buffer:
            size = libc.read(self._fd, self._chunk, len(self._chunk))
            if size <= 0:
                libc.exit_now(0)
            self._buffer += self._chunk[:size]
        end = self._buffer.find(b"\n")
        line = self._buffer[:end]
        self._buffer = self._buffer[end + 1 :]
        return str(line, "utf-8")
