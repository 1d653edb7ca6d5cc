"""Nothing is allocated by a publish, its write and its PUBACK, once a topic's formats exist.

On the VM the heap is locked and an allocation raises; on CPython the same steps run unlocked.
"""

import unittest

import micropython
from node.core.mqtt.codec import Options
from node.core.mqtt.session import Session

PAYLOADS = [bytes(size) for size in (0, 1, 63, 64, 100, 130, 300)]


def opened(version):
    options = Options("dev-1")
    options.version = version
    session = Session(options)
    session.connect(0)
    session.wrote(session.output())
    connack = bytearray(b"\x20\2\0\0" if version == 4 else b"\x20\3\0\0\0")
    session.feed(connack, len(connack))
    session.next_event()
    return session


class Steps:
    """One session's life in steady state, with buffers that exist."""

    def __init__(self, version):
        self.session = opened(version)
        self.topic = self.session.window.topic("v1/dev-1/up/telemetry")
        self.acks = bytearray(12)
        self.acked = 0
        self.written = 0

    def write(self):
        session = self.session
        count = session.output()
        while count:
            session.wrote(count - 1 if count > 1 else count)  # in two pieces
            self.written += 1
            count = session.output()

    def three(self):
        """Three publishes at once, three acknowledgements in one piece, in another order."""
        session = self.session
        window = session.window
        for k in range(3):
            window.publish(self.topic, PAYLOADS[k], 1, False, 0)
            pid = window.pid
            at = (2 - k) * 4
            self.acks[at] = 0x40
            self.acks[at + 1] = 2
            self.acks[at + 2] = pid >> 8
            self.acks[at + 3] = pid & 255
        self.write()
        session.feed(self.acks, 12)
        while session.next_event():
            self.acked += 1

    def one_of_each(self):
        for payload in PAYLOADS:
            self.session.window.publish(self.topic, payload, 0, False, 0)
            self.write()
            self.session.window.publish(self.topic, payload, 1, True, 0)
            self.write()
            pid = self.session.window.pid
            self.acks[0] = 0x40
            self.acks[1] = 2
            self.acks[2] = pid >> 8
            self.acks[3] = pid & 255
            self.session.feed(self.acks, 4)
            while self.session.next_event():
                self.acked += 1
        self.session.tick(1000)


class HeapLocked(unittest.TestCase):
    def steady(self, version):
        steps = Steps(version)
        for _ in range(2):  # formats are made the first time
            steps.three()
            steps.one_of_each()
        before = steps.acked
        micropython.heap_lock()
        try:
            for _ in range(20):
                steps.three()
                steps.one_of_each()
        finally:
            micropython.heap_unlock()
        self.assertEqual(steps.acked - before, 20 * (3 + len(PAYLOADS)))

    def test_mqtt_311(self):
        self.steady(4)

    def test_mqtt_5(self):
        self.steady(5)


if __name__ == "__main__":
    unittest.main()
