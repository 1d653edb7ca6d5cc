"""The composition root of battery mode: wake, sample, keep, now and then connect, sleep.

What a wake does is `node.parts.round`, with the sensors; what connects is `node.parts.call`.
Only one of them is in memory, beside the `Wake`, for TLS and a conversation want the room: so the
Wake holds what both know, as data. In a small heap that is not enough: what has measured leaves
names and buffers behind, and what is free is in pieces. There the state goes to RTC memory
(`core.wakestate`), and a call has a boot of its own, by a deep sleep of no length; and so has the
question for a new release at the end of one.

A board whose deep sleep is a light sleep with a reset behind it gains nothing from the reset:
there the loop goes on in RAM, dozing with the radio off.

Invariants: every wake ends in sleep; the boot number rises only when the state was lost; a reading
is either in the kept batch, in the outbox, or counted as dropped; a power cut costs at most the
kept batch.
"""

import asyncio
import gc

from micropython import const

from node.core.log import Log
from node.hal import modules, ticks
from node.hal.storage import Storage

_ROUND = "node.parts.round"
_ROOMY_BYTES = const(100000)  # free, at the start
_LOG_BYTES = const(512)  # a wake has little to say
# In a heap of any size but that of external memory: else what stays lies between what does not,
# and what comes next finds its memory in pieces.
_COLLECT_BYTES = const(16384)
_PLENTY_BYTES = const(250000)


class Wake:
    """`state` is a core.wakestate.WakeState, `box` the outbox when somebody has opened it.

    began_ms     uptime when this wake began
    cold         the fleet has not been told yet what started the device: the state was lost, or
                 the sleep before was none
    calling      this boot is for a call: the sensors have been asked in the one before
    looking      and the call: this one is for the question for a new release
    look_due     set by the call: the next boot is to be for that
    roomy        the heap holds a call whatever has been in it before
    budget_ms    how long a connection may last, when it is time for one
    sleep_s      how long to sleep after this wake
    battery_mv, every, next_s   what the scheduler said of the battery, of the wakes per connection
                 and of the time between two
    """

    def __init__(self, boot) -> None:
        self.boot = boot
        self.storage = Storage()
        self.ticks = ticks.Ticks(0)
        self.log = Log(self._uptime_ms, _LOG_BYTES, print)
        self.state = self.box = self.counts = None
        self.cold = True
        self.calling = self.looking = self.look_due = False
        self.roomy = gc.mem_free() > _ROOMY_BYTES
        self.began_ms = self.budget_ms = self.sleep_s = self.battery_mv = self.every = 0
        self.next_s = 0

    def _uptime_ms(self) -> int:
        return self.ticks.uptime_ms()

    def awake_ms(self) -> int:
        return self.ticks.uptime_ms() - self.began_ms

    def count(self) -> None:
        """Note what the heartbeat says of the outbox: also when that is put away."""
        box = self.box
        self.counts = (box.depth, [box.taken, box.delivered, box.dropped])

    def save_box(self) -> None:
        """What the outbox knows is on flash."""
        if self.box is not None:
            self.box.flush()
            self.box.save()
            self.state.queue = self.box.fullness()

    def offset_ms(self):
        offset_ms = self.state.offset_ms
        return offset_ms if offset_ms >= 0 else None


def run(boot) -> None:
    """Wake after wake. Returns only by an exception: a fault of the release."""
    modules.forget_verifier()
    modules.keep(("loader.choose",))
    wake = Wake(boot)
    gc.threshold(-1 if gc.mem_free() > _PLENTY_BYTES else _COLLECT_BYTES)
    turn = modules.part(_ROUND, "begin", wake)
    while True:
        asyncio.new_event_loop()
        if wake.calling or asyncio.run(turn.sample()):
            turn.leave_for_call()
            turn = asyncio.core.cur_task = None  # which holds on to it
            modules.give_back()
            outcome = _call(wake)
            turn = modules.part(_ROUND, "Round", wake)
            turn.called(outcome)
        turn.sleep()


def _call(wake):
    """Connect; what came of it: (delivered, what it took in ms, RSSI, why to reset or "")."""
    kept = modules.kept()
    call = _open_call(wake)
    modules.keep("")  # for as long as the call lasts: what it borrows goes before TLS comes
    began_ms = wake.awake_ms()
    done = asyncio.run(call.run())
    outcome = (done, wake.awake_ms() - began_ms, call.rssi_dbm, call.reset_reason)
    call = None
    modules.forget_but(kept)
    return outcome


def _open_call(wake):
    from node.parts.call import Call

    return Call(wake)
