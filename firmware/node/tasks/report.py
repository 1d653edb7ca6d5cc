"""What the device says of itself: state, heartbeat, events, and the evidence of a failed release.

Owns a short queue of events that have not been acknowledged. It is a source of the Connection:
the newest state goes first after each connect (retained, so a fleet that restarts knows it),
then events in order. An event stays queued until its PUBACK; evidence is cleared from flash
only then, by the event's `done`.
"""

import asyncio

from loader import cbor
from micropython import const

_QUEUE = const(16)
_POLL_MS = const(500)
_MAX_EVENT = const(1800)  # the Connection's window is 2 KiB


class _Event:
    def __init__(self, kind: str, body: dict, stamp: dict, done) -> None:
        self.kind = kind
        self.body = body
        self.stamp = stamp
        self.done = done
        self.sent = False
        self.token = 0


class Reporter:
    """`facts()` gives the heartbeat's fields, `state()` the reported state: maps for CBOR.

    `stamp()` gives {"boot", "seq", "up"} and, when the time is known, "ts".
    """

    beat_ms = 30000

    def __init__(self, link, facts, state, stamp, interval_s: int) -> None:
        self._link = link
        self._facts = facts
        self._state = state
        self._stamp = stamp
        self.interval_ms = interval_s * 1000
        self._events: list = []
        self._token = 0
        self._state_sent = False
        self._was_connected = False
        self.dropped = 0
        link.add_source(self)

    def event(self, kind: str, body: dict, done=None) -> None:
        """Queue an event; `done()` is called when the broker has it. The oldest gives way."""
        if len(self._events) >= _QUEUE:
            self._events.pop(0)
            self.dropped += 1
        self._events.append(_Event(kind, body, self._stamp(), done))

    def state_changed(self) -> None:
        self._state_sent = False

    @property
    def idle(self) -> bool:
        """Nothing waits for the broker."""
        return self._state_sent and not self._events

    # --- source of the Connection

    def pull(self, link) -> None:
        if not self._state_sent and not self._send_state(link):
            return
        for event in self._events:
            if not event.sent and not self._send(link, event):
                return

    def _send_state(self, link) -> bool:
        """Whether the state could be sent. What tells it is loaded for the occasion: so not in
        vain, and if there is no memory for it the link is not to blame."""
        try:
            if link.room():
                self._state_sent = link.publish("state", cbor.encode(self._state()), retain=True)
        except MemoryError:
            pass
        return self._state_sent

    def acked(self, token: int) -> None:
        for event in self._events:
            if event.token == token and event.sent:
                self._events.remove(event)
                if event.done is not None:
                    event.done()
                return

    def _send(self, link, event) -> bool:
        self._token = self._token % 0x3FFF + 1
        event.token = self._token
        payload = _encode(event)
        event.sent = link.publish("event", payload, token=event.token)
        return event.sent

    # --- the heartbeat

    async def run(self, beat) -> None:
        next_ms = 0
        waited_ms = 0
        while True:
            beat()
            connected = self._link.connected
            if connected and not self._was_connected:
                next_ms = waited_ms  # say hello at once
            self._was_connected = connected
            if connected and waited_ms >= next_ms and self._told():
                next_ms = waited_ms + self.interval_ms
            await asyncio.sleep_ms(_POLL_MS)
            waited_ms += _POLL_MS

    def _told(self) -> bool:
        try:
            return self._link.publish("status", cbor.encode(self._facts()), retain=True)
        except MemoryError:
            return False

    def forget_sent(self) -> None:
        """The session did not survive: what was sent and not acknowledged is sent again."""
        for event in self._events:
            event.sent = False
        self._state_sent = False


def _encode(event) -> bytes:
    fields = {"t": event.kind, "b": event.body}
    fields.update(event.stamp)
    payload = cbor.encode(fields)
    if len(payload) > _MAX_EVENT:
        fields["b"] = {"cut": len(payload)}
        payload = cbor.encode(fields)
    return payload
