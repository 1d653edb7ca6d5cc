"""What a session keeps until it is acknowledged: any order of acknowledgements, any cut of the
link, with both windows; and what only the few packets of a short conversation promise.
"""

import unittest

from mqtt_case import CONNACK, Case, ack, events, packets, publish, publish_of, written
from node.core.errors import CallerError
from node.core.mqtt import few
from node.core.mqtt.codec import Options, packet
from node.core.mqtt.window import Window


class Dice:
    """The same numbers everywhere."""

    def __init__(self, seed):
        self._state = seed

    def below(self, limit):
        self._state = (self._state * 1103515245 + 12345) & 0x3FFFFFFF
        return (self._state >> 10) % limit


class Broker:
    """Reads what a session writes, link by link, and checks it against the rules."""

    def __init__(self, case):
        self._case = case
        self._ids = {}  # number -> packet id of its first transmission
        self.acked = set()
        self.link(0)

    def link(self, made):
        """A new link, before which `made` messages had been made."""
        self._old = made
        self._stream = b""
        self._last = -1
        self.unacked = []  # (packet id, number)
        self.greeted = False

    def wrote(self, data):
        self._stream += data
        whole = 0
        while whole < len(self._stream):
            size = _length(self._stream, whole)
            if not size or whole + size > len(self._stream):
                break
            ((first, body),) = packets(self._stream[whole : whole + size])
            self._packet(first, body)
            whole += size
        self._stream = self._stream[whole:]

    def _packet(self, first, body):
        if first == 0x10:
            self.greeted = True
            return
        case = self._case
        topic, pid, payload = publish_of(body, first & 6)
        number = int(payload.split(b" ")[0])
        case.assertEqual(topic, b"t")
        case.assertEqual(payload, text_of(number))
        case.assertGreater(number, self._last)  # in the order in which they were made
        self._last = number
        if first & 6:
            again = number in self._ids
            case.assertTrue(first & 8 or not again)  # seen before: says so
            case.assertFalse(first & 8 and number >= self._old)  # new: does not
            case.assertNotIn(number, self.acked)
            case.assertNotIn(pid, [pid for pid, _ in self.unacked])
            case.assertEqual(self._ids.setdefault(number, pid), pid)
            self.unacked.append((pid, number))


def _length(data, at):
    """Of the packet that begins at `at`; 0 when its length is not there yet."""
    size = shift = 0
    k = at + 1
    while k < len(data):
        size |= (data[k] & 127) << shift
        shift += 7
        k += 1
        if data[k - 1] < 128:
            return k - at + size
    return 0


def text_of(number):
    return b"%d " % number + bytes([number & 255]) * (number * 37 % 200)


class AnyOrder(Case):
    """Messages with QoS 0 and 1, pieces of writes, acknowledgements in any order, twice or for
    nothing, and links that are cut anywhere."""

    def play(self, seed, steps):
        dice = Dice(seed)
        options = Options("dev-1")
        options.window, options.window_bytes = 5, 1200
        self.session = self.session_of(options)
        self.broker = Broker(self)
        self.made, self.due = 0, set()
        self.relink()
        for _ in range(steps):
            self.step(dice.below(16), dice)
        self.relink()
        self.finish()
        self.assertEqual(self.due, set())
        self.assertEqual(self.session.window.count, 0)
        return self.made

    def step(self, what, dice):
        if what < 5:
            self.say(1 if dice.below(4) else 0)
        elif what < 9:
            count = self.session.output()
            if count:
                self.write(1 + dice.below(count))
        elif what < 14:
            if not self.session.window.open and self.broker.greeted:
                events(self.session, CONNACK)
            elif self.broker.unacked and self.session.window.open:
                self.acknowledge(dice.below(len(self.broker.unacked)), dice.below(8) == 0)
        elif what == 14:
            self.stray(40000 + dice.below(20000))
        elif dice.below(4) == 0:
            self.relink()

    def say(self, qos):
        if publish(self.session, text_of(self.made), qos, False, self.made):
            if qos:
                self.due.add(self.made)
            self.made += 1

    def write(self, count):
        session = self.session
        self.broker.wrote(bytes(session.out[session.out_at : session.out_at + count]))
        session.wrote(count)

    def acknowledge(self, k, twice):
        pid, number = self.broker.unacked.pop(k)
        strays = self.session.strays
        found = events(self.session, ack(pid) * (2 if twice else 1))
        self.assertEqual(found, [("acked", number)])
        self.assertEqual(self.session.strays - strays, 1 if twice else 0)
        self.due.remove(number)
        self.broker.acked.add(number)

    def stray(self, pid):
        if self.session.window.open:
            self.assertEqual(events(self.session, ack(pid)), [])

    def relink(self):
        self.session.closed()
        self.session.connect(0)
        self.broker.link(self.made)

    def finish(self):
        while self.session.output():
            self.write(self.session.output())
        events(self.session, CONNACK)
        while self.session.output():
            self.write(self.session.output())
        self.assertEqual({number for _, number in self.broker.unacked}, self.due)
        while self.broker.unacked:
            self.acknowledge(len(self.broker.unacked) - 1, False)

    def test_nothing_is_lost_doubled_or_out_of_order(self):
        made = 0
        for seed in range(40):
            made += self.play(seed, 500)
        self.assertGreater(made, 2000)


class FewAnyOrder(AnyOrder):
    few = True


class NoMemory:
    def __len__(self):
        raise MemoryError


class Few(Case):
    few = True

    def test_mqtt_5_takes_the_ring(self):
        options = Options("d")
        options.version = 5
        self.assertTrue(isinstance(self.session_of(options).window, Window))
        options.version = 4
        self.assertTrue(isinstance(self.session_of(options).window, few.Few))

    def test_bytes_are_a_bound_and_an_acknowledgement_makes_room_at_once(self):
        session = self.opened(window_bytes=300)
        self.assertTrue(publish(session, bytes(100)))
        self.assertTrue(publish(session, bytes(100)))
        self.assertFalse(publish(session, bytes(100)))
        self.assertTrue(publish(session, bytes(60)))
        written(session)
        self.assertEqual(len(events(session, ack(2))), 1)
        self.assertTrue(publish(session, bytes(100)))
        with self.assertRaises(CallerError) as caught:
            publish(session, bytes(300))
        self.assertEqual(caught.exception.code, "too_large")

    def test_loose_bytes_count_as_well(self):
        session = self.opened(window_bytes=300)
        self.assertTrue(publish(session, bytes(100), 0))
        self.assertTrue(publish(session, bytes(100), 0))
        self.assertFalse(publish(session, bytes(100), 0))
        self.assertEqual([p[0] for p in packets(written(session))], [0x30, 0x30])
        self.assertTrue(publish(session, bytes(100), 0))

    def test_small_packets_share_a_write_and_large_ones_do_not(self):
        session = self.opened()
        for size in (200, 200, 200, 600, 600):
            self.assertTrue(publish(session, bytes(size)))
        sizes = []
        while session.output():
            sizes.append(session.output())
            session.wrote(session.output())
        self.assertEqual(sizes, [3 * 208, 608, 608])

    def test_an_acknowledgement_that_overtakes_the_end_of_its_write(self):
        """TLS may have sent what it has not yet reported."""
        session = self.opened()
        publish(session, b"a")
        session.wrote(session.output() - 1)
        self.assertEqual(len(events(session, ack(1))), 1)
        self.assertFalse(publish(session, b"0", 0))
        session.wrote(session.output())
        self.assertTrue(publish(session, b"0", 0))
        self.assertEqual(packets(written(session)), [(0x30, b"\0\1t0")])
        self.assertEqual((session.window.sent, session.window.count), (0, 0))

    def test_what_shared_a_write_is_kept_one_by_one(self):
        session = self.opened()
        for text in (b"a", b"b", b"c"):
            publish(session, text)
        first = packets(written(session))
        session.closed()
        session.connect(0)
        again = packets(written(session))[1:]
        self.assertEqual(again, [(head | 8, body) for head, body in first])

    def test_no_memory_for_a_message_is_no_room(self):
        session = self.opened()
        made = few.packet

        def none(first, body, rest):
            raise MemoryError

        few.packet = none
        try:
            self.assertFalse(publish(session, b"x"))
            self.assertFalse(publish(session, b"x", 0))
        finally:
            few.packet = made
        self.assertEqual(session.window.count, 0)
        self.assertTrue(publish(session, b"x"))
        self.assertEqual(packets(written(session))[0][0], 0x32)

    def test_no_memory_for_a_write_changes_nothing(self):
        session = self.opened()
        publish(session, b"a")
        publish(session, b"b")
        kept = session.window._kept
        second = kept[1]
        kept[1] = (2, NoMemory(), 0)
        for _ in range(2):
            with self.assertRaises(MemoryError):
                session.output()
        kept[1] = second
        self.assertEqual([p[0] for p in packets(written(session))], [0x32, 0x32])
        self.assertEqual(session.window.sent, 2)

    def test_the_readers_memory_grows_with_what_comes_up_to_its_bound(self):
        session = self.opened(max_packet=128)
        publish(session, b"x")
        written(session)
        self.assertEqual(events(session, ack(1), 1), [("acked", 0)])
        self.assertEqual(len(session.reader.body), 16)
        for size in (40, 125, 126, 60000):
            data = packet(0x30, b"\0\1t" + bytes(size))
            found = events(session, data, 50)
            self.assertEqual(len(found), 1 if 3 + size <= 128 else 0)
            self.assertEqual(len(session.reader.body), min(3 + size, 128))
        self.assertEqual(session.inbound.oversized, 2)
        self.assertEqual(len(events(session, packet(0x30, b"\0\1t" + bytes(125)))), 1)

    def test_nothing_is_held_when_all_is_said(self):
        session = self.opened()
        publish(session, bytes(500))
        written(session)
        events(session, ack(1))
        session.tick(0)
        self.assertEqual(len(session.out) + len(session.window.arena), 0)
        publish(session, b"x", 0)
        session.output()
        session.closed()
        self.assertEqual(len(session.out) + len(session.window.arena), 0)

    def test_a_write_that_is_not_done_outlasts_a_tick_and_an_acknowledgement(self):
        session = self.opened()
        publish(session, b"first")
        written(session)
        publish(session, b"second")
        session.wrote(session.output() - 3)
        self.assertEqual(len(events(session, ack(1))), 1)
        session.tick(0)
        self.assertEqual(written(session), b"ond")
        self.assertEqual(len(events(session, ack(2))), 1)
        publish(session, b"third")
        written(session)
        publish(session, b"loose", 0)
        session.wrote(session.output() - 3)
        self.assertEqual(len(events(session, ack(3))), 1)
        session.tick(0)
        self.assertEqual(written(session), b"ose")
        self.assertTrue(publish(session, b"fourth"))


if __name__ == "__main__":
    unittest.main()
