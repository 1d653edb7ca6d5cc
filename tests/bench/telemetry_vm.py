"""On the VM: what telemetry costs, in us, bytes and erased blocks. Prints "name value"."""

import gc
import time

import vfs
from chip.nor import Nor
from node.core import outbox, record
from node.core.anomaly import Anomaly
from node.core.config import FilterConfig, ProductConfig
from node.core.filter import ChannelFilter
from node.core.sampler import Sampler
from node.hal.storage import Storage

CHANNELS = (
    ("temperature", "Cel", -2),
    ("humidity", "%RH", -2),
    ("pressure", "Pa", 0),
    ("co2", "ppm", 0),
    ("battery", "V", -3),
)
FILTERS = (
    ("deadband", {"deadband": 5}),
    ("window", {"window": 60}),
    ("median5", {"median": 5, "deadband": 5}),
    ("hampel9", {"hampel": 9, "deadband": 5}),
)


def cost(name, action, count):
    action(0)
    gc.collect()
    began_us = time.ticks_us()
    for index in range(count):
        action(index)
    print("us." + name, time.ticks_diff(time.ticks_us(), began_us) / count)


def filters():
    for name, settings in FILTERS:
        channel = ChannelFilter(FilterConfig(settings))
        cost("filter." + name, lambda i, c=channel: c.take(2000 + i * 7 % 13, 0, i * 1000), 3000)
    detector = Anomaly(100)
    cost("filter.anomaly", lambda i: detector.take(2000 + i * 7 % 13), 3000)


def batch(first, dated):
    made = record.Batch(b"1234", 7, first)
    made.dated = dated
    start_ms = 1763690000123 if dated else 60000
    made.times = [start_ms + 60000 * (first + i) + i * 37 % 7 for i in range(12)]
    made.columns = [
        [2150 + 3 * i for i in range(12)],
        [4520 - 7 * i for i in range(12)],
        [101325 + i * 5 % 9 for i in range(12)],
        [420 + i * (-1) ** i for i in range(12)],
        [3700 - i // 4 for i in range(12)],
    ]
    made.quality = [[0] * 12 for _ in range(5)]
    return made


def packing():
    writer, made = record.Writer(300), batch(1200, True)
    packed = record.encode(made)
    print("bytes.batch", len(packed))
    cost("encode", lambda _: record.encode_into(made, writer), 300)
    cost("decode", lambda _: record.decode(packed), 300)
    config = ProductConfig({"product": "w", "sensors": [{"name": "a", "driver": "x"}]})
    sampler, values, codes = Sampler(config, [CHANNELS], (b"1234", 1)), [0] * 5, bytearray(5)

    def sample(index):
        values[:] = [2150 + index % 7, 4500, 101325 + index % 5, 420, 3700]
        sampler.reading(0, values, codes, index * 60000)
        sampler.finish(index * 60000)
        if sampler.batcher.rows >= 12:
            sampler.batcher.close(1763690000000)

    cost("sample", sample, 2400)


def erases(name, prog, every):
    """Blocks erased per batch of 12 x 5 that stays on flash, flushed after `every` batches."""
    nor = Nor(212, 4096, prog)
    vfs.VfsLfs2.mkfs(nor, progsize=prog, readsize=32, lookahead=32)
    vfs.mount(vfs.VfsLfs2(nor, progsize=prog, readsize=32, lookahead=32), "/f")
    box = outbox.Outbox(Storage(), outbox.OutboxConfig("/f/outbox"))
    box.open()
    before, programmed = sum(nor.wear), nor.bytes_programmed
    for index in range(960):
        box.append(record.encode(batch(12 * index, True)), 12)
        if every and index % every == every - 1:
            box.flush()
    print("erases." + name, (sum(nor.wear) - before) / 960)
    print("programmed." + name, (nor.bytes_programmed - programmed) / 960)
    vfs.umount("/f")


def connected(prog):
    """Every batch is acknowledged before the flush is due: blocks erased in all."""
    nor = Nor(212, 4096, prog)
    vfs.VfsLfs2.mkfs(nor, progsize=prog, readsize=32, lookahead=32)
    vfs.mount(vfs.VfsLfs2(nor, progsize=prog, readsize=32, lookahead=32), "/f")
    box = outbox.Outbox(Storage(), outbox.OutboxConfig("/f/outbox"))
    box.open()
    before = sum(nor.wear)

    def one(index):
        box.append(record.encode(packed), 12)
        token, _, _ = box.next()
        box.acked(token)

    packed = batch(0, True)
    cost("append-send-ack", one, 960)
    print("erases.connected", (sum(nor.wear) - before) / 960)
    vfs.umount("/f")


filters()
packing()
for size in (32, 256):
    erases(f"full.{size}", size, 0)
    erases(f"ten.{size}", size, 10)
    erases(f"each.{size}", size, 1)
connected(256)
