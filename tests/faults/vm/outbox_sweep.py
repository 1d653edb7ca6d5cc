"""On the VM: a workload on the outbox over NOR flash, cut at every operation, and the oracle.

Run by tests/faults/test_outbox_powercut.py with: policy prog mode first last step defect
(the policies are drop and thin, and drop-sealed and thin-sealed with records sealed on flash).
Prints one line per violation ("VIOLATION n mode text") and at the end "RUNS n OPS n WORST n n".
"""

import gc
import sys

import cryptolib
import vfs
from chip.nor import Nor, PowerCut
from node.core import at_rest, outbox, record
from node.hal.storage import Storage

BLOCK = 4096
BLOCKS = 20
SAMPLES = 3
_SAVE_EVERY = 8


class Broken(Storage):
    """The storage with a planted defect, to show that the oracle sees it."""

    defect = ""

    def write_atomic(self, path, data):
        if self.defect == "remove-then-write":
            self.remove(path)
            self.append(path, data)
        elif self.defect == "tmp-remove-rename" and "state" in path:
            self._write(path + ".tmp", "wb", data)
            self.remove(path)
            self.rename(path + ".tmp", path)
        else:
            Storage.write_atomic(self, path, data)

    def append(self, path, data):
        if self.defect == "rewrite-in-place":
            old = self.read(path) or b""
            self._make_folder(path)
            with open(path, "wb") as file:
                file.flush()
                file.write(old)
                file.write(data)
        else:
            Storage.append(self, path, data)


def settings(policy):
    config = outbox.OutboxConfig("/f/data/outbox")
    config.segment_bytes = 1024
    config.buffer_bytes = 700
    config.segments = 5
    config.event_bytes = 256
    config.event_segments = 2
    config.policy = policy
    config.save_every = _SAVE_EVERY
    return config


def packed(first):
    batch = record.Batch(b"\1\2\3\4", 1, first)
    batch.times = [1000 * (first + i) for i in range(SAMPLES)]
    batch.columns = [
        [first + i for i in range(SAMPLES)],
        [(first * 7919 + i) & 0xFFFF for i in range(SAMPLES)],
    ]
    batch.quality = [[0] * SAMPLES, [0] * SAMPLES]
    return record.encode(batch)


def numbers(payload):
    """The samples of a batch; ValueError when it says anything that was never written."""
    batch = record.decode(payload)
    found = []
    for index in range(batch.samples):
        number = batch.seq_of(index)
        first = number - number % SAMPLES
        second = (first * 7919 + number - first) & 0xFFFF
        if batch.columns[0][index] != number or batch.columns[1][index] != second:
            raise ValueError(number)
        found.append(number)
    return found


class Story:
    """What the workload has done so far: all that the oracle needs."""

    def __init__(self):
        self.appended = 0  # samples
        self.flushed = 0  # samples up to here are on flash, or were delivered
        self.acked = set()
        self.bound = 0
        self.twice = False


class Sweep:
    def __init__(self, policy, prog, defect):
        self.policy, _, sealed = policy.partition("-")
        self.seal = at_rest.Seal(bytes(range(32)), cryptolib.aes) if sealed else None
        self.storage = Broken()
        self.storage.defect = defect
        self.defect = defect
        self.nor = Nor(BLOCKS, BLOCK, prog)
        self.lfs = {"progsize": prog, "readsize": 32, "lookahead": 32}
        vfs.VfsLfs2.mkfs(self.nor, **self.lfs)
        self.clean = self.nor.image()
        self.violations = 0
        self.runs = 0
        self.worst_lost = self.worst_again = 0

    def mount(self):
        vfs.mount(vfs.VfsLfs2(self.nor, **self.lfs), "/f")

    def umount(self):
        try:
            vfs.umount("/f")
        except OSError:
            pass

    def off(self):
        """The power is off: what was open is finalised while the flash is dead, as on a chip."""
        gc.collect()
        self.umount()
        gc.collect()
        self.nor.power_on()

    def box(self):
        box = outbox.Outbox(self.storage, settings(self.policy), self.seal)
        if self.defect == "send-cursor":
            for lane in box._lanes:
                lane.state = lambda lane=lane: [
                    lane.send[0],
                    lane.send[1],
                    lane.delivered,
                    lane.given_up,
                    lane.send_position,
                ]
        if self.defect == "sweep-first":
            real = box._write_state

            def write_late():
                box._sweep()
                return real()

            box._write_state = write_late
        box.open()
        return box

    def alive(self):
        if self.nor.dead:
            raise PowerCut()

    # --- the workload

    def work(self, story):
        self.mount()
        box = self.box()
        self.alive()
        self.offline(box, story, 60)
        self.send(box, story, 12)
        self.offline(box, story, 130)
        box.flush()
        self.alive()
        story.flushed = story.appended
        self.send(box, story, 30)
        self.offline(box, story, 45)
        self.send(box, story, 120)
        self.offline(box, story, 20)
        box.save()
        self.alive()

    def offline(self, box, story, records):
        for index in range(records):
            before = box.unflushed
            box.append(packed(story.appended), SAMPLES)
            self.alive()
            story.appended += SAMPLES
            if box.unflushed <= before:
                story.flushed = story.appended - box.unflushed
            if index % 17 == 16:
                box.flush()
                self.alive()
                story.flushed = story.appended
            story.bound = story.appended - story.flushed

    def send(self, box, story, records):
        window = []
        for _ in range(records):
            found = box.next()
            self.alive()
            if found is None:
                break
            window.append((found[0], numbers(found[2])))
            if len(window) == 4:
                self.ack(box, story, window.pop(1))
                self.ack(box, story, window.pop(0))
        box.rewind()

    def ack(self, box, story, sent):
        # The broker has it whatever happens to the device meanwhile.
        story.acked.update(sent[1])
        box.acked(sent[0])
        self.alive()

    # --- one cut

    def one(self, at, mode, second=0):
        self.nor.restore(self.clean)
        story = Story()
        self.nor.cut(at, mode)
        cut = False
        try:
            self.work(story)
        except PowerCut:
            cut = True
        except OSError:
            if not self.nor.dead:
                raise
            cut = True
        self.off()
        if second:
            self.nor.cut(second, mode)
            try:
                self.drain(story)
            except (PowerCut, OSError):
                if not self.nor.dead:
                    raise
            self.off()
        self.runs += 1
        try:
            self.mount()
            self.recover(story)
        except (OSError, ValueError, record.RecordError, AssertionError) as error:
            self.violations += 1
            print("VIOLATION", at, mode, second, repr(error))
        if self.nor.violations or self.nor.misaligned:
            print("VIOLATION", at, mode, second, "NOR rules")
        self.umount()
        gc.collect()
        return cut

    def drain(self, story):
        """A recovery that is cut as well: what the broker got before that, it has."""
        story.twice = True
        self.mount()
        box = self.box()
        while True:
            found = box.next()
            self.alive()
            if found is None:
                return
            self.ack(box, story, (found[0], numbers(found[2])))

    def recover(self, story):
        box = self.box()
        depth = box.depth
        got = []
        while True:
            found = box.next()
            if found is None:
                break
            got += numbers(found[2])
            box.acked(found[0])
        self.judge(story, box, depth, got)

    def judge(self, story, box, depth, got):
        assert box.damaged == 0, "damaged"
        assert got == sorted(set(got)), "order"
        assert not got or got[-1] < story.appended + SAMPLES, "never taken"
        assert box.depth == 0, f"depth {box.depth}"
        assert depth == len(got), f"queued {depth}, sent {len(got)}"
        there = set(got) | story.acked
        if self.policy == "drop":
            # Whatever is missing from flash is older than everything that is there.
            oldest = got[0] if got else story.flushed
            for number in range(oldest, story.flushed):
                assert number in there, f"lost {number} of {story.flushed}"
        else:
            reach = max(got) if got else -1
            assert reach >= story.flushed - 9 or story.flushed - 1 in there, "tail"
        kept = len([n for n in range(story.flushed) if n in there])
        if box.dropped == 0:
            assert kept == story.flushed, "lost without a drop"
        again = len(set(got) & story.acked)
        self.worst_again = max(self.worst_again, again)
        lost = len([n for n in range(story.flushed, story.appended) if n not in there])
        self.worst_lost = max(self.worst_lost, lost)
        assert lost <= story.bound + SAMPLES, f"unflushed {lost}"
        # All that is not acknowledged is sent or was dropped, and the count agrees.
        self.accounts(story, box, got)

    def accounts(self, story, box, got):
        there = set(got) | story.acked
        missing = len([n for n in range(story.flushed) if n not in there])
        assert missing <= box.dropped, f"dropped {box.dropped}, missing {missing}"
        if self.policy == "drop" and not story.twice:
            again = len(set(got) & story.acked)
            assert again <= (_SAVE_EVERY + 1) * SAMPLES, f"sent again: {again}"


def main(policy, prog, mode, first, last, step, defect):
    sweep = Sweep(policy, int(prog), "" if defect == "none" else defect)
    sweep.nor.restore(sweep.clean)
    sweep.work(Story())
    operations = sweep.nor.ops
    sweep.umount()
    last = min(int(last), operations) if int(last) else operations
    for at in range(int(first), last + 1, int(step)):
        if not sweep.one(at, mode):
            print("VIOLATION", at, mode, "no cut happened")
        if int(step) > 1 and at % 5 == 0:
            for second in (1, 2, 3, 5, 8):
                sweep.one(at, mode, second)
    print("RUNS", sweep.runs, "OPS", operations, "WORST", sweep.worst_lost, sweep.worst_again)


main(*sys.argv[1:])
