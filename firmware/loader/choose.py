"""Which slot to boot: one total, pure function of boot record, reset cause and broken slots.

The caller verifies the slot that is chosen and, when that fails, asks again with its bit added to
`bad`; no answer names a slot whose bit is set, so this ends after at most three questions.
"""

from micropython import const

from loader import layout

_MAX_TRIES = const(3)  # faults that end a trial
_MAX_STARTS = const(50)  # starts that end a trial, whatever the reset cause: none is for ever


def choose(confirmed: int, trial: "layout.Item", cause: str, bad: int) -> "layout.Item":
    """(mode, slot, tries, over, failed).

    `confirmed` is a slot index, `trial` is [] or the record's [slot, digest, version, tries,
    starts], `cause` one of layout's, bit n of `bad` says that slot n does not verify. In the
    answer `mode` is "confirmed", "trial", "fallback" (the confirmed slot is broken, the other one
    is not: better another release than none) or "safe" (nothing can be executed); `tries` is what
    the trial has spent, `over` that it has ended, `failed` that it is the release's own fault.
    """
    other = 1 - confirmed
    tries, over, failed = 0, False, False
    if trial:
        slot, _, _, tries, starts = trial
        # counts only once the trial has started: the reset before that was the old release's
        tries += 1 if starts and cause in layout.FAULTS else 0
        failed = tries >= _MAX_TRIES or starts >= _MAX_STARTS
        over = failed or slot != other or bad >> other & 1 != 0
        if not over:
            return "trial", other, tries, False, False
    if not bad >> confirmed & 1:
        return "confirmed", confirmed, tries, over, failed
    if not failed and not bad >> other & 1:
        return "fallback", other, tries, over, failed
    return "safe", -1, tries, over, failed
