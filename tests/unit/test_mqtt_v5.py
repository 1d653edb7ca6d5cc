"""MQTT 5: properties, the server's limits, reasons; and the way back to 3.1.1."""

import unittest

from mqtt_case import written
from node.core.errors import CallerError, PeerError
from node.core.mqtt.codec import Options
from node.core.mqtt.session import ACKED, CONNECTED, MESSAGE, SUBSCRIBED, Session


def feed(session, data, step=0):
    seen = []
    step = step or len(data)
    for at in range(0, len(data), step):
        piece = bytearray(data[at : at + step])
        session.feed(piece, len(piece))
        event = session.next_event()
        while event or session.more:
            if event == MESSAGE:
                seen.append((bytes(session.inbound.topic), bytes(session.inbound.payload)))
            elif event:
                seen.append(event)
            else:
                written(session)
            event = session.next_event()
    return seen


def connack(properties=b"", reason=0, flags=0):
    body = bytes([flags, reason, len(properties)]) + properties
    return bytes([0x20, len(body)]) + body


def make(**settings):
    options = Options("dev-1")
    options.version = 5
    for name in settings:
        setattr(options, name, settings[name])
    session = Session(options)
    session.connect(0)
    return session


def opened(properties=b"", **settings):
    session = make(**settings)
    written(session)
    feed(session, connack(properties))
    return session


class Connecting(unittest.TestCase):
    def test_connect_packet(self):
        out = written(make(session_expiry_s=3600, max_packet=512))
        expected = b"\0\4MQTT\5\0\0\x3c\x0a\x27\0\0\2\0\x11\0\0\x0e\x10\0\5dev-1"
        self.assertEqual(out, bytes([0x10, len(expected)]) + expected)

    def test_will_and_clean_start(self):
        out = written(make(clean=True, will=("w", b"x", 1, True)))
        expected = b"\0\4MQTT\5\x2e\0\x3c\5\x27\0\0\4\0\0\5dev-1\0\0\1w\0\1x"
        self.assertEqual(out, bytes([0x10, len(expected)]) + expected)

    def test_nothing_is_published_before_the_first_connack(self):
        session = make()
        session.window.publish(session.window.topic("t"), b"x", 1)
        self.assertEqual(written(session)[0], 0x10)
        self.assertEqual(session.output(), 0)
        self.assertEqual(feed(session, connack()), [CONNECTED])
        self.assertEqual(written(session), b"\x32\7\0\1t\0\1\0x")
        session.closed()
        session.connect(0)
        self.assertIn(b"\x3a\7\0\1t\0\1\0x", written(session))

    def test_limits_at_every_split(self):
        properties = b"\x21\0\3\x27\0\0\0\x40\x13\0\x0a\x24\1\x12\0\3abc\x26\0\1k\0\1v\x22\0\5"
        data = connack(properties)
        for step in range(1, len(data) + 1):
            session = make()
            written(session)
            self.assertEqual(feed(session, data, step), [CONNECTED])
            self.assertEqual(session.window.limit, 3)
            self.assertEqual(session.keepalive_ms, 10000)
            topic = session.window.topic("t")
            with self.assertRaises(CallerError):
                session.window.publish(topic, bytes(60), 1)
            self.assertTrue(session.window.publish(topic, bytes(50), 1))

    def test_receive_maximum_holds_for_what_waited(self):
        """4.9: four messages from before, and a broker that takes two at a time."""
        session = make()
        for k in range(4):
            session.window.publish(session.window.topic("t"), b"%d" % k, 1, False, k)
        written(session)
        feed(session, connack(b"\x21\0\2"))
        self.assertEqual(written(session), b"\x32\7\0\1t\0\1\x000\x32\7\0\1t\0\2\x001")
        self.assertEqual(session.output(), 0)
        self.assertEqual(feed(session, b"\x40\2\0\1"), [2])
        self.assertEqual(written(session), b"\x32\7\0\1t\0\3\x002")
        self.assertEqual(session.output(), 0)

    def test_refusals(self):
        for data, code in (
            (connack(b"", 0x87), "refused"),
            (connack(b"", 0x84), "version"),
            (b"\x20\2\0\1", "version"),
            (b"\x20\2\0\5", "refused"),
            (connack(b"\x24\0"), "qos"),
            (connack(b"\x99\0"), "malformed"),
            (connack(b"\x21\0"), "malformed"),
            (connack(b"\x12\0\x30a"), "malformed"),
            (b"\x20\3\0\0\x05", "malformed"),
            (b"\x20\4\0\0\xff\xff", "malformed"),
        ):
            session = make()
            written(session)
            with self.assertRaises(PeerError) as caught:
                feed(session, data)
            self.assertEqual(caught.exception.code, code)

    def test_falls_back_and_rewrites_what_waits(self):
        for size in (1, 119, 120, 200):
            session = make()
            session.window.publish(session.window.topic("t"), b"a" * size, 1, False, "a")
            session.window.publish(session.window.topic("t"), b"bb", 1, False, "b")
            written(session)
            with self.assertRaises(PeerError):
                feed(session, b"\x20\2\0\1")
            session.closed()
            self.assertIsNone(session.v5)
            session.connect(0)
            self.assertEqual(session.control[0][8], 4)
            out = written(session)
            feed(session, b"\x20\2\0\0")
            out += written(session)
            self.assertIn(b"\0\1t\0\1" + b"a" * size, out)
            self.assertTrue(out.endswith(b"\x32\7\0\1t\0\2bb"))
            self.assertEqual(feed(session, b"\x40\2\0\1\x40\2\0\2"), [ACKED, ACKED])

    def test_a_link_that_failed_before_connect_is_no_reason_to_fall_back(self):
        session = make()
        session.output()
        session.closed()
        self.assertIsNotNone(session.v5)


class Talking(unittest.TestCase):
    def test_message_expiry(self):
        session = opened(message_expiry_s=600)
        session.window.publish(session.window.topic("t"), b"x", 1)
        self.assertEqual(written(session), b"\x32\x0c\0\1t\0\1\5\2\0\0\2\x58x")
        session = opened(message_expiry_s=600)
        session.window.publish(session.window.topic("t"), b"x", 0)
        self.assertEqual(written(session), b"\x30\x0a\0\1t\5\2\0\0\2\x58x")

    def test_puback_with_a_reason(self):
        for data, reason in (
            (b"\x40\2\0\1", 0),
            (b"\x40\3\0\1\x10", 0x10),
            (b"\x40\4\0\1\x87\0", 0x87),
        ):
            for step in (1, 2, len(data)):
                session = opened()
                session.window.publish(session.window.topic("t"), b"x", 1)
                written(session)
                self.assertEqual(feed(session, data, step), [ACKED])
                self.assertEqual(session.reason, reason)
                self.assertEqual(session.v5.rejected, 1 if reason == 0x87 else 0)

    def test_quota_keeps_the_message(self):
        session = opened()
        session.window.publish(session.window.topic("t"), b"x", 1)
        written(session)
        with self.assertRaises(PeerError):
            feed(session, b"\x40\3\0\1\x97")
        self.assertEqual(session.window.count, 1)

    def test_publish_with_properties(self):
        body = b"\0\1t\0\7\5\2\0\0\0\x3chello"
        message = bytes([0x32, len(body)]) + body
        for step in range(1, len(message) + 1):
            session = opened()
            self.assertEqual(feed(session, message, step), [(b"t", b"hello")])
            self.assertEqual(written(session), b"\x40\2\0\7")

    def test_subscribe(self):
        session = opened()
        session.need_inbound().subscribe(session, [("a", 1)])
        self.assertEqual(written(session), b"\x82\7\0\1\0\0\1a\1")
        self.assertEqual(feed(session, b"\x90\4\0\1\0\1"), [SUBSCRIBED])

    def test_disconnected_by_the_server(self):
        for data, detail in ((b"\xe0\0", 0), (b"\xe0\1\x8d", 0x8D), (b"\xe0\2\x98\0", 0x98)):
            with self.assertRaises(PeerError) as caught:
                feed(opened(), data)
            self.assertEqual(caught.exception.code, "disconnected")
            self.assertEqual(caught.exception.detail, detail)

    def test_any_garbage_is_a_peer_error_or_harmless(self):
        seed = 9
        for round_ in range(400):
            session = opened(max_packet=64)
            session.window.publish(session.window.topic("t"), b"x", 1)
            written(session)
            data = bytearray(48)
            for k in range(48):
                seed = (seed * 1103515245 + 12345) & 0x3FFFFFFF
                data[k] = seed >> 12 & 255
            data[0] = (0x30, 0x32, 0x40, 0x90, 0xB0, 0xE0, 0x62, data[0])[round_ % 8]
            data[1] = round_ % 40
            try:
                feed(session, bytes(data), 1 + round_ % 9)
            except PeerError:
                pass

    def test_garbage_for_connack(self):
        seed = 11
        for round_ in range(400):
            session = make()
            written(session)
            data = bytearray(40)
            for k in range(40):
                seed = (seed * 1103515245 + 12345) & 0x3FFFFFFF
                data[k] = seed >> 12 & 63
            data[0], data[1], data[2], data[3] = 0x20, round_ % 38, 0, 0
            try:
                feed(session, bytes(data), 1 + round_ % 9)
            except PeerError:
                pass


if __name__ == "__main__":
    unittest.main()
