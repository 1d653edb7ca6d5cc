"""The thread of the story: numbered steps, timed lines, and checks that end it when they fail.

Owns no output: each line goes to `tell(Line)`, and the command line decides how it looks.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from outpost.errors import OutpostError

T = TypeVar("T")
_POLL_S = 0.1


@dataclass(frozen=True)
class Line:
    """One line of the story. `kind`: step, say, check, board, done."""

    at_s: float
    kind: str
    text: str
    who: str = ""


class Narrator:
    """Numbers the steps and times them. `tell` gets each line as it happens."""

    def __init__(self, tell: Callable[[Line], None]) -> None:
        self._tell = tell
        self._begin = time.monotonic()
        self.steps = 0
        self.checks = 0
        self._title = ""

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._begin

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """A numbered step. A failure inside is raised again with the step's name on it."""
        self.steps += 1
        self._title = title
        self._line("step", f"{self.steps}. {title}")
        try:
            yield
        except OutpostError as error:
            raise OutpostError(
                "demo_step",
                f"step {self.steps} ({title}): {error}",
                error.fix or "Run with --keep to look at the folder it leaves behind.",
                exit_code=1,
            ) from error

    def say(self, text: str) -> None:
        self._line("say", text)

    def board(self, who: str, text: str) -> None:
        self._line("board", text, who)

    def check(self, truth: bool, text: str) -> None:
        """State a fact that has just been read from the registry; raise when it is not one."""
        self.checks += 1
        if not truth:
            raise OutpostError("demo_check", f"not true: {text}", "", exit_code=1)
        self._line("check", text)

    def wait(self, what: str, limit_s: float, probe: Callable[[], T | None]) -> T:
        """Poll `probe` until it gives something; raise after `limit_s` and name `what`."""
        deadline = time.monotonic() + limit_s
        while True:
            found = probe()
            if found:
                return found
            if time.monotonic() > deadline:
                raise OutpostError(
                    "demo_wait", f"waited {limit_s:.0f} s in vain for {what}", "", exit_code=1
                )
            time.sleep(_POLL_S)

    def _line(self, kind: str, text: str, who: str = "") -> None:
        self._tell(Line(self.elapsed_s, kind, text, who))
