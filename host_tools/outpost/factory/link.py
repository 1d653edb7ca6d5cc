"""The station's wire to a board: scripts through the raw REPL, with mpremote's own transport.

Owns the connection, its time limits and what its failures mean. The same code drives a serial port
and the socket:// port of a simulated board. Invariants: only the port it was given is opened; a
script that hangs resets the board (the watchdog is armed for the session); a lost link is
OutpostError `link-lost`, after which a retry is safe.
"""

import ast
from collections.abc import Callable
from typing import Any, Protocol

from outpost.errors import ExitCode, OutpostError

_SCRIPT_TIMEOUT_S = 10  # longer than the watchdog of the session lets a script be silent
_ENTER_TIMEOUT_S = 2
_ENTER_TRIES = 6
_READ_TIMEOUT_S = 5.0

# Feeding comes first in every script. An application that was running has left its watchdog armed,
# and on an RP2040 nothing can stop it: so the session has one of its own in any case, and each
# script has its period to finish.
_WATCHDOG = "import machine\nmachine.WDT(timeout=8000).feed()\n"


class BoardError(OutpostError):
    """A script raised on the board. `traceback` is the board's."""

    def __init__(self, what: str, traceback: str) -> None:
        last = (traceback.strip() or "no message").splitlines()[-1]
        super().__init__(
            "board-script",
            f"{what} failed on the board: {last}",
            "see the audit log",
            ExitCode.FAILED,
        )
        self.traceback = traceback


class Link(Protocol):
    """What the station needs of a board. Tests implement it in memory."""

    def ask(self, what: str, script: str) -> Any:
        """Run `script`, which prints one Python literal, and return that; `what` names it in
        errors.
        """

    def reset(self) -> None:
        """Reset the board, so that it starts its application, and end the session."""

    def close(self) -> None:
        """End the session; the board stays as it is."""


Opener = Callable[[str], Link]


class RawReplLink:
    """A Link over mpremote's SerialTransport."""

    def __init__(self, port: str) -> None:
        from mpremote import transport_serial
        from mpremote.transport import TransportError

        # It prints what it read when it fails; a library must not.
        transport_serial.print = lambda *_: None
        self.port = port
        self._lost_errors = (TransportError, OSError)
        try:
            self._serial = transport_serial.SerialTransport(port, timeout=_READ_TIMEOUT_S)
        except self._lost_errors as error:
            fix = "check the cable, and that no other program has the port open"
            raise OutpostError(
                "port", f"{port} cannot be opened: {error}", fix, ExitCode.DEVICE_NOT_FOUND
            ) from error
        self._enter()

    def _enter(self) -> None:
        """Into the raw REPL. A board that is just booting may not hear the first Ctrl-C."""
        for attempt in range(_ENTER_TRIES):
            try:
                self._serial.enter_raw_repl(soft_reset=True, timeout_overall=_ENTER_TIMEOUT_S)
                return
            except self._lost_errors as error:
                if attempt == _ENTER_TRIES - 1:
                    self._serial.close()
                    raise self._lost(error) from error

    def _lost(self, error: Exception) -> OutpostError:
        fix = "check cable and power, then run the same command again: it resumes"
        return OutpostError(
            "link-lost", f"{self.port} does not answer: {error}", fix, ExitCode.LINK_LOST
        )

    def ask(self, what: str, script: str) -> Any:
        try:
            out, failed = self._serial.exec_raw(_WATCHDOG + script, timeout=_SCRIPT_TIMEOUT_S)
        except self._lost_errors as error:
            raise self._lost(error) from error
        except (ValueError, IndexError) as error:  # what its parsing of a broken stream raises
            raise self._lost(error) from error
        if failed:
            raise BoardError(what, failed.decode(errors="replace"))
        text = out.decode(errors="replace").strip()
        try:
            return ast.literal_eval(text) if text else None
        except (ValueError, SyntaxError):
            raise self._lost(ValueError(f"garbled answer to {what}")) from None

    def reset(self) -> None:
        # No answer will come: the port may vanish with the board.
        try:
            self._serial.exec_raw_no_follow("import machine\nmachine.reset()\n")
        except self._lost_errors as error:
            raise self._lost(error) from error
        finally:
            self.close()

    def close(self) -> None:
        try:
            self._serial.close()
        except self._lost_errors:
            return  # gone already, which is what was wanted


def open_link(port: str) -> Link:
    """A session with the board at `port`: a device name or socket://host:port."""
    return RawReplLink(port)
