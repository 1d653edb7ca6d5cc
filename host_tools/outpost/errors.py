"""How Outpost's host libraries fail: one exception that carries everything the command line has to
say.

Libraries raise `OutpostError`; they never print and never exit.  `code` is a short stable word
that scripts and tests compare; `message` says what is wrong, `fix` what the reader can do about
it, and `exit_code` is one of `ExitCode` (the table in docs/reference/cli.md is checked against
it).
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells its caller; the numbers are part of the interface and never
    change."""

    OK = 0
    FAILED = 1
    USAGE = 2
    DEVICE_NOT_FOUND = 3
    LINK_LOST = 4
    VERIFICATION_FAILED = 5
    REFUSED = 6
    ALREADY_DONE = 7
    SERVER_UNREACHABLE = 8
    NOT_AUTHORISED = 9
    PARTLY_DONE = 10
    INTERRUPTED = 130


EXIT_CODE_MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "failed",
    ExitCode.USAGE: "wrong usage or configuration",
    ExitCode.DEVICE_NOT_FOUND: "device not found, or more than one fits",
    ExitCode.LINK_LOST: "link to the device lost; a retry is safe",
    ExitCode.VERIFICATION_FAILED: "verification failed",
    ExitCode.REFUSED: "refused by the device's or the release's security state",
    ExitCode.ALREADY_DONE: "already done; nothing was changed",
    ExitCode.SERVER_UNREACHABLE: "server unreachable",
    ExitCode.NOT_AUTHORISED: "not authorised",
    ExitCode.PARTLY_DONE: "partly done; the output says which part",
    ExitCode.INTERRUPTED: "interrupted",
}


class OutpostError(Exception):
    """A failure with a stable code, a message, a remedy and the exit code that fits it."""

    def __init__(
        self, code: str, message: str, fix: str | None = None, exit_code: int = ExitCode.FAILED
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fix = fix
        self.exit_code = int(exit_code)

    def as_dict(self) -> dict[str, object]:
        """The `error` member of the `--json` object."""
        return {
            "code": self.code,
            "message": self.message,
            "fix": self.fix,
            "exit_code": self.exit_code,
        }
