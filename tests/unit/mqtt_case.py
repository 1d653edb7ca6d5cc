"""What the unit tests of the MQTT session share: a scripted peer, sessions with either window."""

import unittest

from node.core.mqtt.codec import Options
from node.core.mqtt.session import ACKED, CONNECTED, MESSAGE, SUBSCRIBED, Session

CONNACK = b"\x20\2\0\0"
PRESENT = b"\x20\2\1\0"


def written(session):
    """Everything the session has to write, as one string."""
    out = b""
    count = session.output()
    while count:
        out += bytes(session.out[session.out_at : session.out_at + count])
        session.wrote(count)
        count = session.output()
    return out


def packets(data):
    """Split a stream into (first byte, body)."""
    found = []
    at = 0
    while at < len(data):
        size = shift = 0
        k = at + 1
        while True:
            size |= (data[k] & 127) << shift
            shift += 7
            k += 1
            if data[k - 1] < 128:
                break
        found.append((data[at], data[k : k + size]))
        at = k + size
    return found


def events(session, data, step=0):
    """Feed `data`, in pieces of `step` bytes, and note what happened."""
    seen = []
    step = step or len(data)
    for at in range(0, len(data), step):
        piece = bytearray(data[at : at + step])
        session.feed(piece, len(piece))
        event = session.next_event()
        while event or session.more:
            if event == ACKED:
                seen.append(("acked", session.window.token))
            elif event == MESSAGE:
                topic = session.inbound.topic
                seen.append(("message", topic, bytes(session.inbound.payload)))
            elif event == CONNECTED:
                seen.append(("connected", session.present))
            elif event == SUBSCRIBED:
                seen.append(("subscribed", session.reason))
            else:
                written(session)
            event = session.next_event()
    return seen


def publish(session, payload, qos=1, retain=False, token=0):
    return session.window.publish(session.window.topic("t"), payload, qos, retain, token)


def ack(pid):
    return bytes([0x40, 2, pid >> 8, pid & 255])


def publish_of(body, qos):
    """(topic, pid, payload) of a PUBLISH body."""
    size = body[0] << 8 | body[1]
    at = 2 + size
    pid = 0
    if qos:
        pid = body[at] << 8 | body[at + 1]
        at += 2
    return body[2 : 2 + size], pid, body[at:]


class Case(unittest.TestCase):
    """A session with the ring, or with the few packets of a short conversation."""

    few = False

    def session_of(self, options):
        options.few = self.few
        return Session(options)

    def opened(self, **settings):
        options = Options("dev-1")
        for name in settings:
            setattr(options, name, settings[name])
        session = self.session_of(options)
        session.connect(0)
        written(session)
        events(session, CONNACK)
        return session
