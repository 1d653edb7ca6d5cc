"""The provisioning station: takes one unit from "on the bench" to SEALED, from wherever it was.

Owns the order of things. For each step: probe; when it is not done, write to the journal that it
begins, apply, probe again, write what came of it, and log it. So a cut of the station's or the
board's power anywhere is resumed by running the same command again, and nothing is counted that
was not read back.
"""

import datetime
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from outpost.errors import ExitCode, OutpostError
from outpost.factory import link as linking
from outpost.factory.audit import AuditLog
from outpost.factory.journal import Journal, Unit
from outpost.factory.steps import Bench, Plan, Step, all_steps, identify


@dataclass(frozen=True)
class ProvisionResult:
    """A unit that is SEALED."""

    device_id: str
    uid: str
    product: str
    board: str
    spki_sha256: str
    certificate: bytes = field(repr=False)
    resumed: bool
    """It had been begun by an earlier run."""
    already: bool
    """It was SEALED before; nothing was changed."""
    steps_ms: dict[str, int]
    """Steps that were applied in this run, with the time each took."""
    seconds: float
    self_test: dict[str, Any] = field(default_factory=dict, repr=False)
    """The board's report on itself; empty when it was tested in an earlier run."""


@dataclass
class Station:
    """A bench with its journal, its audit log and what it makes. `on_step(unit, state)` is told of
    progress.
    """

    journal: Journal
    audit: AuditLog
    plan: Plan
    open_link: linking.Opener = linking.open_link
    on_step: Callable[[Unit, str], None] | None = None
    today: Callable[[], datetime.date] = datetime.date.today

    @classmethod
    def at(cls, folder: Path, plan: Plan, who: str = "", where: str = "") -> "Station":
        """The station whose journal.db and audit.jsonl are in `folder`."""
        return cls(
            Journal(folder / "journal.db"), AuditLog(folder / "audit.jsonl", who, where), plan
        )

    def provision(self, port: str, again: str = "") -> ProvisionResult:
        """Provision the board at `port`. `again`: the reason for giving a SEALED one a new key and
        certificate.
        """
        started = time.monotonic()
        link = self.open_link(port)
        try:
            unit = self._identify(link)
            resumed = unit.attempts > 1
            if unit.reached("SEALED") and not again:
                link.reset()
                return self._result(unit, resumed, {}, started)
            if unit.reached("SEALED"):
                unit = self.journal.forget_identity(unit.uid)
                self.audit.append("again", uid=unit.uid, device=unit.device_id, reason=again)
            bench = Bench(unit, link, self.plan)
            unit, times = self._advance(bench)
            link.reset()
            done = self._result(unit, resumed, times, started)
            return replace(done, self_test=bench.report)
        finally:
            link.close()

    def _identify(self, link: linking.Link) -> Unit:
        found = identify(link)
        board = str(found["board"].get("board", ""))
        facts = {name: found[name] for name in ("machine", "micropython", "free")}
        unit = self.journal.identified(found["uid"], board, facts)
        if unit.device_id is None:
            unit = self.journal.reserve(unit.uid, self.plan.product, self.today(), self.plan.block)
            self.audit.append(
                "reserved", uid=unit.uid, device=unit.device_id, board=board, **facts
            )
        elif unit.product != self.plan.product:
            message = (
                f"{unit.uid} is {unit.device_id}, a {unit.product}, not a {self.plan.product}"
            )
            raise OutpostError(
                "other-product", message, "use the station of its product", ExitCode.REFUSED
            )
        return unit

    def _advance(self, bench: Bench) -> tuple[Unit, dict[str, int]]:
        times: dict[str, int] = {}
        for step in all_steps():
            # A state the journal has is probed all the same: the board may have been swapped or
            # erased since.
            if bench.unit.reached(step.state) and step.probe(bench):
                continue
            began = time.monotonic()
            self._take(bench, step)
            times[step.state] = int((time.monotonic() - began) * 1000)
            if self.on_step:
                self.on_step(bench.unit, step.state)
        return bench.unit, times

    def _take(self, bench: Bench, step: Step) -> None:
        number = self.journal.begin(bench.unit.uid, step.state)
        try:
            results = {} if self._done_unnoted(bench, step) else step.apply(bench)
            bench.unit = self.journal.done(number, **results)
            if not step.probe(bench):
                message = f"{step.state} did not read back from {bench.device_id}"
                raise OutpostError(
                    "read-back",
                    message,
                    "run again; if it stays, replace the board",
                    ExitCode.VERIFICATION_FAILED,
                )
        except OutpostError as error:
            self.journal.failed(number, error.code)
            self.audit.append(
                "failed",
                uid=bench.unit.uid,
                device=bench.unit.device_id,
                step=step.state,
                code=error.code,
            )
            raise
        self.audit.append(
            "done",
            uid=bench.unit.uid,
            device=bench.unit.device_id,
            step=step.state,
            **_logged(results),
        )

    def _done_unnoted(self, bench: Bench, step: Step) -> bool:
        """Done by a run that was cut before it could write it down. KEYED and CERTIFIED have
        results: they are repeated.
        """
        return step.state in ("FLASHED", "WRITTEN") and step.probe(bench)

    def _result(
        self, unit: Unit, resumed: bool, times: dict[str, int], started: float
    ) -> ProvisionResult:
        assert unit.device_id and unit.spki_sha256 and unit.certificate
        return ProvisionResult(
            device_id=unit.device_id,
            uid=unit.uid,
            product=unit.product,
            board=unit.board,
            spki_sha256=unit.spki_sha256,
            certificate=unit.certificate,
            resumed=resumed,
            already=not times,
            steps_ms=times,
            seconds=time.monotonic() - started,
        )


def _logged(results: dict[str, Any]) -> dict[str, Any]:
    """Results as the audit log keeps them: bytes as their hash."""
    return {
        name if not isinstance(value, bytes) else f"{name}_sha256": (
            hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else value
        )
        for name, value in results.items()
    }
