"""The MQTT session against scripted bytes: every split, the window, resending, deadlines.

Each case runs with both windows: see the end of the file.
"""

import unittest

from mqtt_case import CONNACK, PRESENT, Case, ack, events, packets, publish, publish_of, written
from node.core.errors import CallerError, PeerError
from node.core.mqtt.codec import Options, packet
from node.core.mqtt.session import MESSAGE


class Connecting(Case):
    def test_connect_packet(self):
        options = Options("dev-1")
        options.will = ("v1/dev-1/up/status", b"gone", 1, True)
        options.username, options.password = "u", b"pw"
        session = self.session_of(options)
        session.connect(0)
        expected = (
            b"\x00\x04MQTT\x04\xec\x00\x3c\x00\x05dev-1\x00\x12v1/dev-1/up/status\x00\x04gone"
        )
        self.assertEqual(packets(written(session)), [(0x10, expected + b"\x00\x01u\x00\x02pw")])

    def test_connack_at_every_split(self):
        for step in (1, 2, 3, 4):
            session = self.session_of(Options("d"))
            session.connect(0)
            written(session)
            self.assertEqual(events(session, PRESENT, step), [("connected", True)])

    def test_refusals_and_disorder(self):
        for data, code in (
            (b"\x20\2\0\5", "refused"),
            (b"\x20\2\2\0", "malformed"),
            (b"\x20\3\0\0\0", "malformed"),
            (b"\x21\2\0\0", "malformed"),
            (b"\x40\2\0\1", "order"),
            (b"\xd0\0", "order"),
            (b"\x20\xff\xff\xff\xff", "length"),
        ):
            session = self.session_of(Options("d"))
            session.connect(0)
            written(session)
            self.assertEqual(failure(session, data), code)

    def test_no_connack_is_noticed(self):
        session = self.session_of(Options("d"))
        session.connect(1000)
        written(session)
        self.assertEqual(session.tick(1000), 15000)
        with self.assertRaises(PeerError) as caught:
            session.tick(16000)
        self.assertEqual(caught.exception.code, "no_connack")

    def test_first_publish_travels_with_connect(self):
        session = self.session_of(Options("d"))
        session.connect(0)
        self.assertTrue(publish(session, b"one", 1, False, "a"))
        count = session.output()
        self.assertEqual([p[0] for p in packets(bytes(session.out[:count]))], [0x10, 0x32])
        session.wrote(count)
        self.assertEqual(session.output(), 0)
        self.assertEqual(events(session, CONNACK + ack(1)), [("connected", False), ("acked", "a")])

    def test_what_comes_before_connack_waits_for_it(self):
        session = self.session_of(Options("d"))
        session.connect(0)
        written(session)
        publish(session, b"late", 1)
        self.assertEqual(session.output(), 0)
        self.assertFalse(publish(session, b"zero", 0))
        events(session, CONNACK)
        self.assertEqual(packets(written(session)), [(0x32, b"\0\1t\0\1late")])


def failure(session, data, step=0):
    try:
        events(session, data, step)
    except PeerError as error:
        return error.code
    return "none"


class Publishing(Case):
    def test_lengths_around_one_and_two_byte_headers(self):
        for qos in (0, 1):
            for size in (0, 1, 63, 64, 65, 110, 118, 119, 120, 121, 122, 123, 124, 125, 300, 900):
                session = self.opened()
                payload = bytes([size & 255]) * size
                self.assertTrue(session.window.publish(session.window.topic("v1/d"), payload, qos))
                ((first, body),) = packets(written(session))
                self.assertEqual(first, 0x32 if qos else 0x30)
                self.assertEqual(publish_of(body, qos), (b"v1/d", qos, payload))

    def test_one_topic_with_changing_lengths_and_flags(self):
        session = self.opened()
        topic = session.window.topic("t")
        for size, qos, retain in ((3, 1, False), (200, 1, True), (200, 1, False), (3, 1, True)):
            session.window.publish(topic, b"x" * size, qos, retain)
            ((first, body),) = packets(written(session))
            self.assertEqual(first, 0x32 | (1 if retain else 0))
            self.assertEqual(len(body), 5 + size)

    def test_window_is_a_bound_and_frees_in_order(self):
        session = self.opened(window=3)
        topic = session.window.topic("t")
        for k in range(3):
            self.assertTrue(session.window.publish(topic, b"%d" % k, 1, False, k))
        self.assertFalse(session.window.publish(topic, b"3", 1))
        written(session)
        # out of order: accepted, but in the ring the place is only free when the oldest goes
        self.assertEqual(events(session, ack(2)), [("acked", 1)])
        self.assertEqual(session.window.publish(topic, b"3", 1), self.few)
        self.assertEqual(events(session, ack(1)), [("acked", 0)])
        self.assertEqual(session.window.publish(topic, b"3", 1), True)
        self.assertEqual(session.window.publish(topic, b"4", 1), not self.few)
        self.assertFalse(session.window.publish(topic, b"5", 1))

    def test_ring_never_corrupts_a_packet(self):
        session = self.opened(window=5, window_bytes=700)
        topic = session.window.topic("t")
        seed = 7
        unacked, sent, pid = [], 0, 0
        for _ in range(3000):
            seed = (seed * 1103515245 + 12345) & 0x3FFFFFFF
            size = seed >> 8 & 255
            payload = bytes([seed >> 16 & 255]) * size
            if seed & 1 and session.window.publish(topic, payload, 1, False, sent):
                pid = pid + 1
                unacked.append((pid, payload))
                sent += 1
            elif seed & 2:
                for first, _ in packets(written(session)):
                    self.assertEqual(first, 0x32)
            elif unacked and session.window.sent:
                oldest = unacked.pop(0)
                self.assertEqual(len(events(session, ack(oldest[0]))), 1)
            if seed & 0x70000 == 0:
                session.connect(0)
                found = packets(written(session))
                self.assertEqual(found.pop(0)[0], 0x10)
                events(session, CONNACK)
                found += packets(written(session))
                self.assertEqual([publish_of(b, 1)[1:] for _, b in found], unacked)
        self.assertGreater(sent, 500)

    def test_too_large_is_the_callers_fault(self):
        session = self.opened()
        for size in (2048, 16384):
            with self.assertRaises(CallerError):
                publish(session, bytes(size), 1)
        self.assertTrue(publish(session, b"fits", 1))
        for name in ("", "a/+", "#", "a\0b"):
            with self.assertRaises(CallerError):
                session.window.topic(name)

    def test_qos0_waits_for_its_turn_and_is_not_kept(self):
        session = self.opened()
        topic = session.window.topic("t")
        self.assertTrue(session.window.publish(topic, b"a", 0))
        self.assertTrue(session.window.publish(topic, b"b", 0))
        self.assertFalse(session.window.publish(topic, b"c", 1))
        count = session.output()
        session.wrote(1)
        self.assertFalse(session.window.publish(topic, b"d", 0))
        self.assertEqual(session.output(), count - 1)
        session.wrote(count - 1)
        self.assertTrue(session.window.publish(topic, b"c", 1))
        self.assertFalse(session.window.publish(topic, b"e", 0))
        self.assertEqual([p[0] for p in packets(written(session))], [0x32])
        self.assertEqual(session.window.count, 1)
        self.assertTrue(session.window.publish(topic, b"f", 0))
        self.assertTrue(session.window.publish(topic, b"g", 0))
        self.assertEqual(written(session), b"\x30\4\0\1tf\x30\4\0\1tg")

    def test_partial_writes_at_every_byte(self):
        session = self.opened()
        for k in range(3):
            publish(session, b"abc%d" % k, 1, False, k)
        out = b""
        while session.output():
            out += bytes(session.out[session.out_at : session.out_at + 1])
            session.wrote(1)
        bodies = [publish_of(body, 1)[2] for _, body in packets(out)]
        self.assertEqual(bodies, [b"abc0", b"abc1", b"abc2"])

    def test_neighbours_go_out_with_one_write(self):
        session = self.opened()
        for _ in range(4):
            publish(session, b"abc", 1)
        self.assertEqual(session.output(), 4 * 10)


class Acknowledging(Case):
    def setUp(self):
        self.session = self.opened()
        for k in range(3):
            publish(self.session, b"%d" % k, 1, False, k)
        written(self.session)

    def test_every_split(self):
        data = ack(1) + ack(2) + b"\xd0\0" + ack(3)
        for step in range(1, len(data) + 1):
            self.setUp()
            found = events(self.session, data, step)
            self.assertEqual(found, [("acked", 0), ("acked", 1), ("acked", 2)])

    def test_stray_double_and_late_are_counted_and_harmless(self):
        data = ack(9) + ack(1) + ack(1) + ack(0) + ack(2) + ack(65535) + ack(3) + ack(2)
        for step in (1, 4, 7, len(data)):
            self.setUp()
            found = events(self.session, data, step)
            self.assertEqual(found, [("acked", 0), ("acked", 1), ("acked", 2)])
            self.assertEqual(self.session.strays, 5)

    def test_one_for_what_was_never_written_is_stray(self):
        session = self.opened()
        publish(session, b"x", 1)
        self.assertEqual(events(session, ack(1)), [])
        self.assertEqual(session.strays, 1)
        self.assertEqual(session.window.count, 1)

    def test_resent_in_order_with_same_id_and_dup(self):
        events(self.session, ack(2))
        self.session.closed()
        self.session.connect(0)
        found = packets(written(self.session))
        self.assertEqual(events(self.session, PRESENT), [("connected", True)])
        found += packets(written(self.session))
        self.assertEqual([first for first, _ in found], [0x10, 0x3A, 0x3A])
        self.assertEqual([publish_of(b, 1)[1:] for _, b in found[1:]], [(1, b"0"), (3, b"2")])
        self.assertEqual(self.session.resent, 2)
        acks = ack(3) + ack(1)
        self.assertEqual(events(self.session, acks), [("acked", 2), ("acked", 0)])

    def test_not_yet_written_carries_no_dup(self):
        session = self.opened()
        publish(session, b"a", 1)
        written(session)
        publish(session, b"b", 1)
        session.output()
        session.connect(0)
        data = written(session)
        events(session, CONNACK)
        found = packets(data + written(session))
        self.assertEqual([p[0] for p in found], [0x10, 0x3A, 0x32])

    def test_packet_ids_wrap_and_skip_those_in_use(self):
        session = self.opened()
        window = session.window
        publish(session, b"old", 1, False, "old")
        written(session)
        window.pid = 65533
        seen = []
        for _ in range(4):
            publish(session, b"x", 1, False, "new")
            seen.append(window.pid)
            written(session)
            self.assertTrue(window.acked(window.pid))  # the old one stays
        self.assertEqual(seen, [65534, 65535, 2, 3])
        self.assertTrue(window.acked(1))
        self.assertEqual(window.token, "old")

    def test_withheld_puback_is_noticed(self):
        self.session.tick(0)
        self.session.tick(10000)
        events(self.session, ack(1))
        self.session.tick(19000)
        self.session.tick(38000)
        with self.assertRaises(PeerError) as caught:
            self.session.tick(39000)
        self.assertEqual(caught.exception.code, "no_puback")

    def test_a_publish_after_a_long_rest_has_its_whole_time(self):
        session = self.opened(keepalive_s=0)
        session.tick(0)
        session.tick(100000)
        publish(session, b"x")
        written(session)
        session.tick(100001)
        session.tick(120000)
        publish(session, b"y")  # but the oldest one's time is not prolonged by others
        with self.assertRaises(PeerError):
            session.tick(120001)


class KeepAlive(Case):
    def test_ping_after_silence_and_death_within_one_and_a_half(self):
        session = self.opened(keepalive_s=20)
        session.tick(0)
        self.assertEqual(session.tick(1000), 14000)
        session.tick(15000)
        self.assertEqual(written(session), b"\xc0\0")
        session.tick(16000)
        with self.assertRaises(PeerError) as caught:
            session.tick(25001)
        self.assertEqual(caught.exception.code, "no_pingresp")

    def test_answered_ping(self):
        session = self.opened(keepalive_s=20)
        session.tick(0)
        for start in range(0, 200000, 20000):
            session.tick(start + 15000)
            self.assertEqual(written(session), b"\xc0\0")
            events(session, b"\xd0\0")
            session.tick(start + 15100)
            session.tick(start + 20000)

    def test_incoming_traffic_alone_does_not_replace_pings(self):
        session = self.opened(keepalive_s=20)
        session.tick(0)
        for now in range(1000, 15001, 1000):
            events(session, b"\x30\3\0\1t")
            session.tick(now)
        self.assertEqual(written(session), b"\xc0\0")

    def test_the_clock_wraps(self):
        session = self.opened(keepalive_s=20)
        session.connect(0x3FFFFFFF - 5000)
        written(session)
        events(session, CONNACK)
        session.tick(0x3FFFFFFF - 5000)
        session.tick(9000)
        self.assertEqual(session.output(), 0)
        session.tick(10500)
        self.assertEqual(written(session), b"\xc0\0")

    def test_deadlines_pass_the_wrap(self):
        session = self.opened(keepalive_s=0)
        publish(session, b"x", 1)
        written(session)
        session.tick(0x3FFFFFFF - 5000)
        session.tick(14000)
        with self.assertRaises(PeerError):
            session.tick(15100)

    def test_pingresps_swallowed_by_a_long_packet_are_no_life(self):
        session = self.opened(keepalive_s=20)
        session.tick(0)
        events(session, b"\x30\xff\xff\xff\x5f\0\1t")
        session.tick(15000)
        written(session)
        with self.assertRaises(PeerError):
            for now in range(15500, 60000, 500):
                events(session, b"\xd0\0")
                session.tick(now)


class Incoming(Case):
    def test_message_is_acknowledged_after_it_was_seen(self):
        message = packet(0x32, b"\0\1t\0\7hello")
        for step in range(1, len(message) + 1):
            session = self.opened()
            self.assertEqual(events(session, message, step), [("message", b"t", b"hello")])
            self.assertEqual(written(session), b"\x40\2\0\7")

    def test_a_payload_that_looks_like_a_puback(self):
        message = packet(0x30, b"\0\1t" + ack(1) * 3)
        for step in range(1, len(message) + 1):
            session = self.opened()
            publish(session, b"x", 1)
            written(session)
            self.assertEqual(events(session, message, step), [("message", b"t", ack(1) * 3)])
            self.assertEqual(session.window.count, 1)

    def test_not_before(self):
        session = self.opened()
        message = bytearray(packet(0x32, b"\0\1t\0\7hello"))
        session.feed(message, len(message))
        self.assertEqual(session.next_event(), MESSAGE)
        self.assertEqual(session.output(), 0)
        session.next_event()
        self.assertEqual(written(session), b"\x40\2\0\7")

    def test_too_long_is_skipped_acknowledged_and_counted(self):
        big = packet(0x32, b"\0\1t\0\7" + bytes(65536))
        for step in (1000, 4096, 7, len(big)):
            session = self.opened(max_packet=128)
            found = events(session, big + b"\x30\4\0\1tx", step)
            self.assertEqual(found, [("message", b"t", b"x")])
            self.assertEqual(session.inbound.oversized, 1)
            self.assertEqual(written(session), b"\x40\2\0\7")

    def test_qos2_is_delivered_once_and_finished(self):
        session = self.opened()
        message = packet(0x34, b"\0\1t\0\7hi")
        self.assertEqual(len(events(session, message)), 1)
        self.assertEqual(written(session), b"\x50\2\0\7")
        self.assertEqual(events(session, packet(0x3C, b"\0\1t\0\7hi")), [])
        self.assertEqual(written(session), b"\x50\2\0\7")
        self.assertEqual(events(session, b"\x62\2\0\7"), [])
        self.assertEqual(written(session), b"\x70\2\0\7")
        self.assertEqual(len(events(session, message)), 1)

    def test_many_messages_with_replies_that_cannot_leave(self):
        session = self.opened()
        data = b"".join([packet(0x32, b"\0\1t\0" + bytes([k])) for k in range(1, 100)])
        self.assertEqual(len(events(session, data)), 99)

    def test_subscribe(self):
        session = self.opened()
        pid = session.need_inbound().subscribe(session, [("a/b", 1), ("c", 0)])
        self.assertEqual(packets(written(session)), [(0x82, b"\0\1\0\3a/b\1\0\1c\0")])
        found = events(session, bytes([0x90, 4, 0, pid, 1, 0x80]))
        self.assertEqual(found, [("subscribed", 1)])
        self.assertEqual(events(session, bytes([0x90, 4, 0, pid, 1, 0x80])), [])
        session.inbound.unsubscribe(session, ["c"])
        self.assertEqual(packets(written(session)), [(0xA2, b"\0\2\0\1c")])
        self.assertEqual(events(session, b"\xb0\2\0\2"), [])
        self.assertEqual(session.inbound.waiting, [])

    def test_subscribe_never_answered(self):
        session = self.opened()
        session.need_inbound().subscribe(session, [("a", 1)])
        session.tick(0)
        with self.assertRaises(PeerError):
            session.tick(20001)

    def test_malformed(self):
        for data in (
            b"\x36\5\0\1t\0\1",  # QoS 3
            b"\x38\3\0\1t",  # DUP with QoS 0
            b"\x32\3\0\1t",  # no packet id
            b"\x32\5\0\1t\0\0",  # packet id 0
            b"\x30\2\0\x09",  # topic longer than the packet
            b"\x30\1\0",
            b"\x30\0",
            b"\x30\2\0\0",  # empty topic
            b"\x30\3\0\1#",
            b"\x30\3\0\1\0",
            b"\x91\3\0\1\0",  # reserved bits
            b"\x90\1\0",
            b"\x60\2\0\1",
            b"\x41\2\0\1",
            b"\x40\1\0",
            b"\x40\3\0\1\0",
            b"\xd1\0",
            b"\xd0\1\0",
            b"\x20\2\0\0",
            b"\x10\0",
            b"\xc0\0",
            b"\xe0\0",
            b"\xf0\0",
            b"\x00\0",
        ):
            for step in (1, len(data)):
                self.assertEqual(failure(self.opened(), data, step), "malformed")

    def test_suback_of_another_length(self):
        session = self.opened()
        session.need_inbound().subscribe(session, [("a", 1)])
        self.assertEqual(failure(session, b"\x90\4\0\1\0\0"), "malformed")

    def test_any_garbage_is_a_peer_error_or_harmless(self):
        seed = 1
        for round_ in range(300):
            session = self.opened(max_packet=64)
            session.need_inbound().subscribe(session, [("a", 1)])
            publish(session, b"x", 1)
            written(session)
            data = bytearray(64)
            for k in range(64):
                seed = (seed * 1103515245 + 12345) & 0x3FFFFFFF
                data[k] = seed >> 12 & 255
            if round_ & 1:  # a plausible first byte reaches deeper
                data[0] = (0x30, 0x32, 0x40, 0x90, 0x34, 0x62)[round_ % 6]
                data[1] = round_ % 40
            failure(session, bytes(data), 1 + round_ % 9)


class Ending(Case):
    def test_disconnect_is_the_last_packet(self):
        session = self.opened()
        session.disconnect()
        self.assertEqual(written(session), b"\xe0\0")

    def test_nothing_of_the_old_link_leaks_into_the_new(self):
        session = self.opened()
        events(session, b"\x32\x20\0\1t")  # half a message
        session.disconnect()
        session.closed()
        session.connect(0)
        self.assertEqual([p[0] for p in packets(written(session))], [0x10])
        self.assertEqual(events(session, CONNACK), [("connected", False)])


class FewConnecting(Connecting):
    few = True


class FewPublishing(Publishing):
    few = True


class FewAcknowledging(Acknowledging):
    few = True


class FewKeepAlive(KeepAlive):
    few = True


class FewIncoming(Incoming):
    few = True


class FewEnding(Ending):
    few = True


if __name__ == "__main__":
    unittest.main()
