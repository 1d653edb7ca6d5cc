"""Sends what the outbox holds: a source of the Connection. QoS 1, removed on PUBACK.

A batch that was packed before the clock was known is dated here, when it is of this boot and the
clock is known by now; one of an earlier boot leaves as it is, and ingest dates it as best it can.
"""

_TOPICS = ("telemetry", "event")  # by the kinds of core.outbox


class PublishSource:
    """`box` is the Outbox, `offset_ms()` Unix time - uptime or None, `boot` this boot's number."""

    def __init__(self, box, boot: int, offset_ms) -> None:
        self._box = box
        self._boot = boot
        self._offset_ms = offset_ms
        self._held = None
        self.acknowledged = 0

    @property
    def idle(self) -> bool:
        """Nothing waits for the broker."""
        return self._held is None and self._box.depth == 0

    def pull(self, link) -> None:
        """Publish until the link has no more room."""
        while True:
            if self._held is None:
                self._held = self._box.next()
                if self._held is None:
                    return
                self._date()
            token, kind, payload = self._held
            if not link.publish(_TOPICS[kind], payload, 1, False, token):
                # The view into the outbox does not outlive this call.
                self._held = (token, kind, bytes(payload))
                return
            self._held = None

    def acked(self, token: int) -> None:
        if self._box.acked(token):
            self.acknowledged += 1

    def forget_sent(self) -> None:
        """The session did not survive: everything unacknowledged is sent again."""
        self._held = None
        self._box.rewind()

    def _date(self) -> None:
        token, kind, payload = self._held
        offset_ms = self._offset_ms()
        # the second byte of a batch has its flags, the first of them says that it is dated
        if kind or offset_ms is None or payload[0] != 1 or payload[1] & 1:
            return
        from node.core import record

        try:
            dated = record.date(payload, self._boot, offset_ms)
        except record.RecordError:
            return
        if dated is not None:
            self._held = (token, kind, dated)
