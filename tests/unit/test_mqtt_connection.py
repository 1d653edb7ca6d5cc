"""What other tasks see of the Connection: False or True, and never its troubles.

Its own task, the reconnects and the pump are tested on the VM against real sockets
(tests/sim/test_mqtt_*.py).
"""

import unittest

from mqtt_case import CONNACK, packets
from node.core.errors import LinkError
from node.core.mqtt.codec import Options
from node.tasks.connect import Config, Connection


class Ports:
    online = None

    @staticmethod
    def below(limit):
        return 0

    @staticmethod
    def ticks_ms():
        return 0


class Link:
    """Takes what is written, or fails as it is told."""

    def __init__(self):
        self.data = b""
        self.error = None

    def send(self, out, at, count):
        if self.error is not None:
            raise self.error
        self.data += bytes(out[at : at + count])
        return count


class Publishing(unittest.TestCase):
    few = False

    def setUp(self):
        options = Options("dev-1")
        options.few = self.few
        self.connection = connection = Connection(Config("host", 1, options), Ports())
        self.link = connection._link = Link()
        session = connection.session
        session.connect(0)
        session.wrote(session.output())
        session.feed(bytearray(CONNACK), len(CONNACK))
        connection._events()
        connection._live = True

    def test_a_publish_leaves_at_once_below_the_devices_own_topic(self):
        self.assertTrue(self.connection.connected)
        self.assertTrue(self.connection.publish("status", b"on", 1, True))
        self.assertTrue(self.connection.publish("status", b"x", 0))
        name = b"\0\x12v1/dev-1/up/status"
        expected = [(0x33, name + b"\0\1on"), (0x30, name + b"x")]
        self.assertEqual(packets(self.link.data), expected)

    def test_no_link_and_no_room_are_false(self):
        for _ in range(self.connection.session.window.limit):
            self.assertTrue(self.connection.room())
            self.assertTrue(self.connection.publish("event", b"x"))
        self.assertFalse(self.connection.room())
        self.assertFalse(self.connection.publish("event", b"x"))
        self.connection._live = False
        self.assertFalse(self.connection.publish("event", b"x", 0))

    def test_qos_1_behind_qos_0_makes_it_leave_first(self):
        self.connection._pulling = True  # a source publishes: written together, afterwards
        self.assertTrue(self.connection.publish("event", b"0", 0))
        self.assertEqual(self.link.data, b"")
        self.assertTrue(self.connection.publish("event", b"1", 1))
        self.assertEqual([first for first, _ in packets(self.link.data)], [0x30])

    def test_a_broken_link_or_too_little_memory_is_the_connections_trouble(self):
        for error in (LinkError("lost"), MemoryError()):
            self.setUp()
            self.link.error = error
            self.assertTrue(self.connection.publish("event", b"x"))
            self.assertIs(self.connection._error, error)
            self.assertFalse(self.connection.publish("event", b"y"))
            self.assertEqual(self.connection.session.window.count, 1)


class FewPublishing(Publishing):
    few = True


if __name__ == "__main__":
    unittest.main()
