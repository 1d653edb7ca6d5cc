"""Which slot to boot: one total, pure function of the boot record, the reset cause and the slots found broken.

The caller verifies the slot that is chosen and, when that fails, asks again with its bit added to `bad`; no answer
names a slot whose bit is set, so this ends after at most three questions.
"""

from loader import layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONFIRMED = "confirmed"
TRIAL = "trial"
FALLBACK = "fallback"  # the confirmed slot is broken, the other one is not: better an older release than none
SAFE = "safe"  # nothing can be executed


def choose(
    confirmed: int, trial: "list[Any]", cause: str, bad: int
) -> "tuple[str, int, int, bool, bool]":
    """(mode, slot, tries, over, failed).

    `confirmed` is a slot index, `trial` is [] or the record's [slot, digest, version, tries, starts], `cause` one of
    layout.CAUSES, bit n of `bad` says that slot n does not verify. In the answer `tries` is what the trial has spent,
    `over` that the trial has ended, `failed` that it ended by the release's own fault.
    """
    confirmed &= 1
    other = 1 - confirmed
    tries = 0
    over = failed = False
    if trial:
        slot, _, _, tries, starts = trial
        # a fault counts against the trial only if the trial had started: the reset before it was the old release's
        if starts and cause in layout.FAULTS:
            tries += 1
        failed = tries >= layout.MAX_TRIES or starts >= layout.MAX_STARTS
        over = failed or slot != other or bool(bad >> other & 1)
        if not over:
            return TRIAL, slot, tries, False, False
    if not bad >> confirmed & 1:
        return CONFIRMED, confirmed, tries, over, failed
    if not failed and not bad >> other & 1:
        return FALLBACK, other, tries, over, failed
    return SAFE, -1, tries, over, failed
