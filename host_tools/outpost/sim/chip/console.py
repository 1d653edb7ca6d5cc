"""The console: runs boot.py and main.py as a port does, then serves the REPL that mpremote speaks.

`repl_reading` is 0 exactly while a program runs: then Ctrl-C comes as SIGINT, else in-band.

Raw REPL and raw paste (docs/reference/repl.rst of MicroPython): Ctrl-A enters, Ctrl-B leaves,
Ctrl-D runs what was sent, or resets softly when nothing was; between OK and the two 0x04 stand the
output and the traceback.  The friendly REPL takes one line at a time.
"""

import io
import sys

from . import clock, layout, libc, power, shared

_A, _B, _C, _D, _E = 1, 2, 3, 4, 5
_WINDOW = 2048
_POLLIN = 1


class Console:
    def __init__(self, main_module):
        self._globals = main_module.__dict__
        self._chunk = bytearray(4096)
        self._size = 0
        self._at = 0
        self._pollfd = bytearray(b"\0\0\0\0\x01\0\0\0")

    def run_file(self, name):
        """Run `name` if it is there; a traceback ends it, SystemExit is a soft reset."""
        try:
            open(name).close()
        except OSError:
            return
        if self._interrupted():
            return
        try:
            shared.S.repl_reading = 0
            try:
                execfile(name, self._globals)  # noqa: F821  MicroPython's builtin
            finally:
                shared.S.repl_reading = 1
        except SystemExit:
            self._soft_reset(0)
        except BaseException as error:  # noqa: BLE001  a console survives what it runs
            self._traceback(error)

    def _interrupted(self):
        """Whether a Ctrl-C came while the chip was booting; what came with it stays to be read."""
        self._pollfd[6] = 0
        if self._at >= self._size and libc.poll(self._pollfd, 1, 0) > 0:
            self._size = max(0, libc.read(0, self._chunk, len(self._chunk)))
            self._at = 0
        return any(self._chunk[index] == _C for index in range(self._at, self._size))

    def interact(self, raw):
        """Never returns."""
        while True:
            try:
                if raw:
                    self._raw()
                    raw = False
                else:
                    self._friendly()
                    raw = True
            except KeyboardInterrupt:  # Ctrl-C between two reads
                self._put("\r\n")

    # -- friendly -------------------------------------------------------------------------------

    def _friendly(self):
        """Returns when Ctrl-A asks for the raw REPL."""
        self._put(
            "%s; %s\r\n" % (sys.version.split("; ")[-1].split(" (")[0], power.board["machine"])
        )
        self._put('Type "help()" for more information.\r\n>>> ')
        line = bytearray()
        while True:
            char = self._get()
            if char == _A:
                return
            if char == _B:
                self._put("\r\n>>> ")
            elif char == _C:
                line = bytearray()
                self._put("\r\n>>> ")
            elif char == _D:
                if not line:
                    self._put("\r\n")
                    self._soft_reset(0)
            elif char in (10, 13):
                self._put("\r\n")
                self._execute(bytes(line), "single")
                line = bytearray()
                self._put(">>> ")
            elif char in (8, 127):
                line = line[:-1]
            else:
                line.append(char)
                self._put(chr(char))

    # -- raw ------------------------------------------------------------------------------------

    def _raw(self):
        """Returns when Ctrl-B asks for the friendly REPL."""
        banner = "raw REPL; CTRL-B to exit\r\n>"
        self._put(banner)
        source = bytearray()
        while True:
            char = self._get()
            if char == _A:
                source = bytearray()
                self._put(banner)
            elif char == _B:
                self._put("\r\n")
                return
            elif char == _C:
                source = bytearray()
            elif char == _E and not source:
                if self._paste():
                    self._put(">")
            elif char == _D:
                self._put("OK")
                if not source:
                    self._put("\r\n")
                    self._soft_reset(1)
                code, source = bytes(source), bytearray()
                self._run_raw(code)
                self._put(">")
            else:
                source.append(char)

    def _paste(self):
        """Ctrl-E A Ctrl-A: windowed transfer, one flow byte per half window."""
        if self._get() != 65 or self._get() != _A:
            self._put("R\x00")
            return False
        half = _WINDOW // 2
        self._put_bytes(bytes((82, 1, half & 0xFF, half >> 8, 1)))
        source = bytearray()
        while True:
            char = self._get()
            if char == _D:
                break
            if char == _C:
                self._put("\x04")
                return True
            source.append(char)
            if len(source) % half == 0:
                self._put("\x01")
        self._put("\x04")
        self._run_raw(bytes(source))
        return True

    def _run_raw(self, code):
        error = self._compile_and_run(code, "exec")
        self._put("\x04")
        if error:
            self._traceback(error)
        self._put("\x04")

    # -- both -----------------------------------------------------------------------------------

    def _execute(self, code, mode):
        error = self._compile_and_run(code, mode)
        if error:
            self._traceback(error)

    def _compile_and_run(self, code, mode):
        try:
            shared.S.repl_reading = 0
            try:
                exec(compile(code, "<stdin>", mode), self._globals)
            finally:
                shared.S.repl_reading = 1
        except SystemExit:
            self._soft_reset(shared.S.skip_main)
        except BaseException as error:  # noqa: BLE001
            return error
        return None

    def _traceback(self, error):
        """As a chip prints it: without the frames of the modules that stand in for C."""
        out = io.StringIO()
        sys.print_exception(error, out)
        for line in out.getvalue().split("\n")[:-1]:
            if not line.startswith('  File "chip/'):
                print(line)

    def _soft_reset(self, raw):
        shared.S.skip_main = raw
        self._put("MPY: soft reboot\r\n")
        power.account()
        libc.exit_now(layout.EXIT_SOFT_RESET)

    def _put(self, text):
        self._put_bytes(text.encode())

    def _put_bytes(self, data):
        libc.write(1, data, len(data))

    def _get(self):
        """The next byte; the clock and what is due run on while nothing comes."""
        while self._at >= self._size:
            self._pollfd[6] = 0
            if libc.poll(self._pollfd, 1, 20) > 0:
                self._size = libc.read(0, self._chunk, len(self._chunk))
                self._at = 0
                if self._size <= 0:
                    libc.exit_now(0)
            clock.check()
        self._at += 1
        return self._chunk[self._at - 1]
