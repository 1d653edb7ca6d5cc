"""node.core.outbox over files in a dict: order, policies, accounts and recovery."""

import gc
import unittest

from node.core import outbox, record

SCHEMA_ID = b"\x01\x02\x03\x04"


def allocated():
    """Bytes of heap in use; 0 where nobody counts them (CPython)."""
    gc.collect()
    return gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0


class Files:
    """The storage port over a dict; `writes` counts appends and replacements."""

    def __init__(self):
        self.files = {}
        self.writes = 0
        self.reads = 0
        self.room = 1 << 30

    def _check(self, size):
        if sum(len(data) for data in self.files.values()) + size > self.room:
            raise OSError(28, "full")
        self.writes += 1

    def read(self, path):
        return self.files.get(path)

    def read_into(self, path, offset, buffer):
        self.reads += 1
        data = self.files.get(path, b"")[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        return len(data)

    def write_atomic(self, path, data):
        self._check(len(data) - len(self.files.get(path, b"")))
        self.files[path] = bytes(data)

    def append(self, path, data):
        self._check(len(data))
        self.files[path] = self.files.get(path, b"") + bytes(data)

    def remove(self, path):
        return self.files.pop(path, None) is not None

    def listdir(self, folder):
        return [path[len(folder) + 1 :] for path in self.files if path.startswith(folder + "/")]

    def size(self, path):
        return len(self.files[path]) if path in self.files else None


def small():
    config = outbox.OutboxConfig("/o")
    config.segment_bytes = config.buffer_bytes = 256
    config.segments = 4
    config.event_bytes = 64
    config.event_segments = 2
    return config


def start(files, config=None):
    box = outbox.Outbox(files, config or small())
    box.open()
    return box


def drain(box):
    """Send and acknowledge everything; the payloads in order."""
    got = []
    while True:
        found = box.next()
        if found is None:
            return got
        got.append(bytes(found[2]))
        box.acked(found[0])


def numbered(count, size=30):
    return [b"%04d" % n + b"x" * (size - 4) for n in range(count)]


class TestQueue(unittest.TestCase):
    def setUp(self):
        self.files = Files()
        self.box = start(self.files)

    def balanced(self, taken):
        self.assertEqual(self.box.taken, taken)
        self.assertEqual(taken, self.box.delivered + self.box.dropped + self.box.depth)

    def test_in_order_and_only_once(self):
        for payload in numbered(20):
            self.assertTrue(self.box.append(payload))
        self.assertEqual(drain(self.box), numbered(20))
        self.assertEqual(drain(self.box), [])
        self.balanced(20)
        self.assertEqual(self.box.depth, 0)

    def test_what_is_acknowledged_from_ram_never_touches_flash(self):
        for payload in numbered(50):
            self.box.append(payload)
            self.assertEqual(drain(self.box), [payload])
        self.assertEqual(self.files.writes, 0)

    def test_a_flushed_queue_survives_a_boot(self):
        for payload in numbered(15):
            self.box.append(payload)
        self.assertEqual(self.box.unflushed, 5)
        self.assertTrue(self.box.flush())
        again = start(self.files)
        self.assertEqual(again.depth, 15)
        self.assertEqual(drain(again), numbered(15))
        self.assertEqual(sorted(self.files.files), ["/o/state"])

    def test_unflushed_is_what_a_cut_takes(self):
        for payload in numbered(8):
            self.box.append(payload)
        lost = self.box.unflushed
        again = start(self.files)
        self.assertEqual(again.depth, 8 - lost)
        self.assertEqual(drain(again), numbered(8)[: 8 - lost])

    def test_acknowledged_out_of_order(self):
        for payload in numbered(4):
            self.box.append(payload)
        found = [self.box.next() for _ in range(4)]
        for at in (2, 0, 3):
            self.assertTrue(self.box.acked(found[at][0]))
        self.assertEqual(self.box.depth, 1)
        self.box.rewind()
        self.assertEqual(self.box.depth, 3)
        self.assertEqual(drain(self.box), numbered(4)[1:])
        self.balanced(4)

    def test_a_token_twice_or_of_another_source(self):
        self.box.append(b"one")
        token = self.box.next()[0]
        self.assertTrue(self.box.acked(token))
        self.assertFalse(self.box.acked(token))
        self.assertFalse(self.box.acked(1))
        self.balanced(1)

    def test_the_window_is_bounded(self):
        for payload in numbered(40, 10):
            self.box.append(payload)
        found = []
        while True:
            one = self.box.next()
            if one is None:
                break
            found.append(one)
        self.assertEqual(len(found), 16)
        self.box.acked(found[0][0])
        self.assertIsNotNone(self.box.next())

    def test_events_first_and_with_segments_of_their_own(self):
        for payload in numbered(40):
            self.box.append(payload)
        self.box.append(b"alarm", 1, outbox.EVENT)
        token, kind, payload = self.box.next()
        self.assertEqual((kind, bytes(payload)), (outbox.EVENT, b"alarm"))

    def test_flush_deadline(self):
        self.assertEqual(self.box.tick(0), -1)
        self.box.append(b"one", 1, outbox.TELEMETRY, 1000)
        self.assertEqual(self.box.tick(1000), 301000)
        self.box.append(b"two", 1, outbox.EVENT, 5000)
        self.assertEqual(self.box.tick(5000), 7000)
        self.assertEqual(self.box.tick(7000), 301000)
        self.assertEqual(self.files.writes, 1)
        self.assertEqual(self.box.tick(301000), -1)
        self.assertEqual(self.files.writes, 2)
        self.assertEqual(self.box.unflushed, 0)

    def test_a_record_that_can_never_fit_is_refused_and_counted(self):
        self.assertFalse(self.box.append(b"x" * 300, 12))
        self.balanced(12)
        self.assertEqual(self.box.dropped, 12)


class TestPolicies(unittest.TestCase):
    def test_drop_oldest(self):
        files = Files()
        box = start(files)
        for payload in numbered(100):
            self.assertTrue(box.append(payload))
        got = drain(box)
        self.assertEqual(got, numbered(100)[-len(got) :])
        self.assertEqual(box.dropped + len(got), 100)
        self.assertGreater(len(got), 15)
        self.assertEqual(box.taken, 100)

    def test_records_on_their_way_when_their_segment_goes(self):
        box = start(Files())
        for payload in numbered(10):
            box.append(payload)
        token = box.next()[0]
        for payload in numbered(60):
            box.append(payload)
        dropped = box.dropped
        self.assertTrue(box.acked(token))
        self.assertEqual(box.dropped, dropped - 1)
        self.assertEqual((box.taken, box.delivered), (70, 1))
        drain(box)
        self.assertEqual((box.taken, box.depth), (70, 0))

    def test_a_full_filesystem_gives_way_by_policy(self):
        files = Files()
        files.room = 700
        box = start(files)
        for payload in numbered(60):
            box.append(payload)
        box.flush()
        self.assertEqual(box.taken, 60)
        got = drain(box)
        self.assertEqual(got, numbered(60)[-len(got) :])
        self.assertGreater(len(got), 5)

    def test_flash_that_takes_nothing_refuses_and_counts(self):
        files = Files()
        box = start(files)
        files.room = 0
        for payload in numbered(20):
            box.append(payload)
        self.assertEqual(box.taken, 20)
        self.assertGreater(box.refused, 0)
        self.assertGreater(box.errors, 0)
        self.assertEqual(len(drain(box)), 20 - box.refused)


def packed(first, samples=12):
    batch = record.Batch(SCHEMA_ID, 1, first)
    batch.dated = True
    batch.times = [1000000 + 60000 * (first + i) for i in range(samples)]
    batch.columns = [[first + i for i in range(samples)]]
    batch.quality = [[0] * samples]
    return record.encode(batch)


class TestThin(unittest.TestCase):
    def setUp(self):
        self.files = Files()
        config = small()
        config.policy = "thin"
        config.segments = 6
        self.config = config
        self.box = start(self.files, config)

    def fill(self, batches):
        for n in range(batches):
            self.assertTrue(self.box.append(packed(12 * n), 12))

    def samples(self, payloads):
        seqs = []
        for payload in payloads:
            batch = record.decode(payload)
            for i in range(batch.samples):
                self.assertEqual(batch.columns[0][i], batch.seq_of(i))
                self.assertEqual(batch.times[i], 1000000 + 60000 * batch.seq_of(i))
                seqs.append(batch.seq_of(i))
        return seqs

    def test_coarser_with_the_whole_time_covered(self):
        self.fill(60)
        self.assertGreater(self.box.thinned, 0)
        self.assertEqual(self.box.taken, 720)
        seqs = self.samples(drain(self.box))
        self.assertEqual(seqs, sorted(seqs))
        self.assertEqual(len(seqs), self.box.delivered)
        self.assertEqual((self.box.depth, self.box.damaged), (0, 0))
        self.assertLess(seqs[0], 12)
        self.assertEqual(seqs[-1], 719)
        self.assertLess(max(b - a for a, b in zip(seqs, seqs[1:])), 65)
        self.assertEqual(self.box.dropped, 720 - len(seqs))

    def test_counts_survive_a_boot(self):
        self.fill(60)
        self.box.flush()
        self.box.append(b"", 0)
        counts = (self.box.depth, self.box.dropped, self.box.delivered)
        again = start(self.files, self.config)
        self.assertEqual((again.depth, again.dropped, again.delivered), counts)
        self.assertEqual(len(self.samples(drain(again))), counts[0])
        self.assertEqual((again.depth, again.damaged), (0, 0))

    def test_a_boot_in_the_middle_of_a_thinned_segment(self):
        self.fill(60)
        self.box.flush()
        while self.box.depth > 100:
            found = self.box.next()
            self.box.acked(found[0])
            again = start(self.files, self.config)
            self.assertEqual(again.damaged, 0)
            self.box._save()
            again = start(self.files, self.config)
            self.assertEqual(again.depth, self.box.depth)
            self.assertEqual(again.dropped, self.box.dropped)


class TestRecovery(unittest.TestCase):
    def test_no_state_sends_again_but_loses_nothing(self):
        files = Files()
        box = start(files)
        for payload in numbered(20):
            box.append(payload)
        box.flush()
        for _ in range(9):
            box.acked(box.next()[0])
        del files.files["/o/state"]
        again = start(files)
        self.assertEqual(drain(again), numbered(20)[-again.delivered :])
        self.assertEqual(again.depth, 0)

    def test_flipped_bits_are_never_sent_and_are_counted(self):
        files = Files()
        box = start(files)
        for payload in numbered(20):
            box.append(payload)
        box.flush()
        name = sorted(n for n in files.files if "/t" in n)[0]
        for at in range(0, len(files.files[name]), 7):
            other = Files()
            other.files = dict(files.files)
            data = bytearray(other.files[name])
            data[at] ^= 0x10
            other.files[name] = bytes(data)
            again = start(other)
            got = drain(again)
            for payload in got:
                self.assertIn(payload, numbered(20))
            self.assertGreater(again.damaged + again.dropped + (20 - len(got)), 0)
            self.assertEqual(again.depth, 0)
            self.assertGreater(len(got), 13)

    def test_a_damaged_tail_is_not_written_to(self):
        files = Files()
        box = start(files)
        for payload in numbered(4):
            box.append(payload)
        box.flush()
        name = [n for n in files.files if "/t" in n][0]
        files.files[name] = files.files[name][:-5]
        again = start(files)
        again.append(b"new")
        again.flush()
        self.assertEqual(drain(again), numbered(4)[:3] + [b"new"])
        self.assertEqual(again.depth, 0)

    def test_recovery_does_not_depend_on_the_backlog(self):
        reads = []
        for count in (10, 30, 1000):
            files = Files()
            config = small()
            config.segments = 200
            box = start(files, config)
            for payload in numbered(count):
                box.append(payload)
            box.flush()
            files.reads = 0
            self.assertEqual(start(files, config).depth, count)
            reads.append(files.reads)
        self.assertLess(max(reads), 4)

    def backlog(self, count, config):
        files = Files()
        box = start(files, config)
        for payload in numbered(count):
            box.append(payload)
        box.flush()
        return files

    def kept_by(self, files, config):
        """Bytes of heap that an opened outbox keeps, and its first unsent record with it."""
        used = allocated()
        box = start(files, config)
        self.assertIsNotNone(box.next())
        return allocated() - used

    def test_memory_grows_by_a_name_per_segment_and_nothing_per_record(self):
        config = small()
        config.segments = 200
        few, many = self.backlog(10, config), self.backlog(1000, config)
        more = len(many.files) - len(few.files)
        self.assertGreater(more, 50)
        grown = self.kept_by(many, config) - self.kept_by(few, config)
        self.assertLess(grown, 160 * more)  # 69 B with 32-bit words, 138 with 64

    def test_garbage_in_the_folder(self):
        files = Files()
        for name in ("t", "tzz", "t00000001.tmp", "e1.2", "x", "state", "t00000001.0.1.2.3"):
            files.files["/o/" + name] = b"garbage"
        box = start(files)
        box.append(b"one")
        self.assertEqual(drain(box), [b"one"])


class TestRandomly(unittest.TestCase):
    """Appends, sends, acks, flushes, lost sessions and boots in any order: the sum is exact."""

    def test_sum_and_content(self):
        for policy in ("drop", "thin"):
            for seed in range(12):
                self.one(seed, policy)

    def one(self, seed, policy):
        state = seed * 7919 + 1
        files = Files()
        config = small()
        config.policy = policy
        box = start(files, config)
        out = []
        lost = appended = 0
        for step in range(400):
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            choice = (state >> 16) % 20
            if choice < 9:
                box.append(packed(12 * appended), 12)
                appended += 1
            elif choice < 13:
                found = box.next()
                if found is not None:
                    record.decode(found[2])
                    out.append(found[0])
            elif choice < 17 and out:
                box.acked(out.pop((state >> 8) % len(out)))
            elif choice == 17:
                box.flush()
            elif choice == 18 and not step % 3:
                out = []
                box.rewind()
            elif choice == 19 and not step % 4:
                out = []
                box.flush()
                box.rewind()
                box._save()
                before = (box.depth, box.delivered, box.dropped - box.refused)
                box = start(files, config)
                self.assertEqual((box.depth, box.delivered, box.dropped), before)
            self.assertEqual(box.taken + lost, 12 * appended)
            self.assertEqual(box.damaged, 0)
        box.rewind()
        drain(box)
        self.assertEqual(box.depth, 0)
        self.assertEqual(box.taken + lost, 12 * appended)
