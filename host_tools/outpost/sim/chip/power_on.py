"""The chip at power-on: loads the stand-ins, then forks one process per boot.

The description of the board comes by the command pipe, one line each way:

    runner -> chip   {description json}    once
    chip -> runner   ready <bytes of heap that the stand-ins hold>
    runner -> chip   boot
    chip -> runner   pid <process>         then, when that process has ended,
                     end <wait status>

EOF on the command pipe ends it; so does the runner's death (PDEATHSIG).  A boot is a fork, because
starting a VM costs a hundred times more, and a battery board boots 3,000 times in a month.
"""

import gc
import json
import sys

from . import clock, flash, layout, libc, power, shared, wired


def _modules():
    import __main__

    from . import m_asyncio, m_machine, m_network, m_onewire, m_os, m_select, m_socket, m_sys
    from . import m_time, m_tls, m_vfs

    m_sys.power_up()
    found = {
        "__main__": __main__,
        "_asyncio": m_asyncio,
        "machine": m_machine,
        "network": m_network,
        "_onewire": m_onewire,
        "onewire": m_onewire,
        "os": m_os,
        "uos": m_os,
        "select": m_select,
        "socket": m_socket,
        "sys": m_sys,
        "time": m_time,
        "utime": m_time,
        "tls": m_tls,
        "vfs": m_vfs,
    }
    if power.board["port"] == "esp32":
        from . import m_esp32

        found["esp32"] = m_esp32
    else:
        from . import m_rp2

        found["rp2"] = m_rp2
    m_machine.trim()
    return found


def main(state_path, commands_fd, events_fd):
    libc.die_with_parent()
    commands = _Lines(commands_fd)
    power.board.update(json.loads(commands.next()))
    shared.attach(state_path)
    part = power.board["flash"]
    flash.power_up(part["erase_us"], part["program_us"], clock.skip)
    from . import m_esp32, m_time, start

    m_time.power_up()
    if power.board["port"] == "esp32":
        m_esp32.power_up()
    filesystem = start.filesystem()
    wired.solder(power.board["devices"], power.board["buses"])
    modules = _modules()
    gc.collect()
    _tell(events_fd, "ready %d" % gc.mem_alloc())
    while commands.next() == "boot":
        gc.collect()
        child = libc.fork()
        if child == 0:
            libc.die_with_parent()
            start.boot(filesystem, modules)
        _tell(events_fd, "pid %d" % child)
        status = bytearray(4)
        while libc.waitpid(child, status, 0) != child:
            pass
        _tell(events_fd, "end %d" % (status[0] | status[1] << 8))


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


def _tell(fd, text):
    data = text.encode() + b"\n"
    libc.write(fd, data, len(data))
