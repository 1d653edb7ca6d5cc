"""Runs on the VM: links that cannot be made, one after another; a JSON line for each. The ports
of the peers come in NODE_SETTINGS (see test_mqtt_links.py)."""

import asyncio
import gc
import json
import os
import sys
import time

sys.path.insert(0, os.getenv("NODE_FIRMWARE"))
SETTINGS = json.loads(os.getenv("NODE_SETTINGS"))

from node.core.errors import LinkError  # noqa: E402
from node.hal.link import Link  # noqa: E402
from node.hal.memory import GcMemory, IdfMemory  # noqa: E402
from node.hal.resolve import Resolver  # noqa: E402
from node.hal.tls import Tls  # noqa: E402


def say(event, **fields):
    fields["event"] = event
    print(json.dumps(fields))


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def read(name):
    with open(name, "rb") as file:
        return file.read()


def make_tls(memory=None):
    given = SETTINGS["tls"]
    return Tls(read(given["cert"]), read(given["key"]), [read(given["anchors"][0])], memory)


async def attempt(name, host, port, tls=None, resolve=None, timeout_ms=600):
    fed = []
    link = Link(lambda: fed.append(1), resolve)
    before = descriptors()
    started = time.ticks_ms()
    code = "open"
    try:
        await link.open(host, port, tls, timeout_ms)
        if tls:
            await link.start(b"\x10\0", 0, 2)
    except LinkError as error:
        code = error.code
    took = time.ticks_diff(time.ticks_ms(), started)
    left = descriptors() - before if code != "open" else 0
    link.close()
    say(name, code=code, ms=took, leaked=left, after_close=descriptors() - before, fed=len(fed))


async def cancelled(name, port, tls=None):
    link = Link()
    before = descriptors()

    async def whole():
        await link.open("localhost", port, tls, 5000)
        await link.start(b"\x10\0", 0, 2)

    task = asyncio.create_task(whole())
    await asyncio.sleep_ms(100)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    say(name, leaked=descriptors() - before)


async def others_run(name, port, tls):
    """While a handshake waits for a silent server, the other tasks must not."""
    ticks = 0

    async def count():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep_ms(10)

    task = asyncio.create_task(count())
    await attempt(name + " link", "localhost", port, tls)
    task.cancel()
    say(name, ticks=ticks)


class Scarce:
    """A memory check that says what it is told, and notes what it was asked."""

    def __init__(self, enough):
        self.enough = enough
        self.asked = []

    def hold(self):
        self.asked.append("hold")

    def release(self):
        self.asked.append("release")
        return self.enough

    def low(self):
        return not self.enough


def memory_on_the_gc_heap():
    """The block is held from the start, so it is whole when the heap has been shredded."""
    memory = GcMemory(16000, 30000)
    memory.hold()
    keep = []
    litter = []
    try:
        while True:  # fill the heap with small blocks, alternately kept and thrown away
            keep.append(bytearray(700))
            litter.append(bytearray(700))
    except MemoryError:
        pass
    litter = None
    gc.collect()
    free = gc.mem_free()
    scattered = False
    try:
        bytearray(16000)
    except MemoryError:
        scattered = True
    ok = memory.release()
    whole = True
    try:
        bytearray(16000)
    except MemoryError:
        whole = False
    keep = keep[:10]
    say("gc memory", ok=ok, scattered=scattered, whole=whole, free=free)
    starved = GcMemory(gc.mem_free() * 2, 30000)
    starved.hold()
    say("gc starved", ok=starved.release())


def memory_of_the_idf():
    for name, regions in (
        ("idf plenty", [(100000, 60000, 31000, 5000), (50000, 20000, 16000, 100)]),
        ("idf scattered", [(100000, 60000, 12000, 5000)]),
        ("idf little", [(100000, 20000, 19000, 5000)]),
    ):
        memory = IdfMemory(lambda regions=regions: regions)
        memory.hold()
        say(name, ok=memory.release(), low=memory.low())


def meanings():
    disguised = ValueError("\nThe certificate is not correctly signed by the trusted CA\n")
    for name, enough in (("signed, much memory", True), ("signed, little memory", False)):
        say(name, code=make_tls(Scarce(enough)).code_of(disguised, True))
    for name, error, early in (
        ("no memory", OSError(12), True),
        ("memory error", MemoryError(), True),
        ("alert", OSError(-30592), True),
        ("pipe, early", OSError(32), True),
        ("pipe, late", OSError(32), False),
        ("no anchor", OSError(-30336), True),
        ("else", OSError(-1), True),
    ):
        say(name, code=make_tls().code_of(error, early))


async def names():
    port = SETTINGS["dns"]
    good = Resolver(lambda: ["127.0.0.1"], port)
    await attempt("dns good", "broker.test", SETTINGS["listening"], None, good.resolve, 4000)
    good._port = SETTINGS["closed"]
    await attempt("dns remembered", "broker.test", SETTINGS["listening"], None, good.resolve, 1000)
    say("stale", count=good.stale)
    dead = Resolver(lambda: ["127.0.0.1"], SETTINGS["closed"])
    await attempt("dns dead", "broker.test", SETTINGS["listening"], None, dead.resolve, 1000)
    await attempt("dns refused", "nowhere.test", 1, None, Resolver(good._servers, port).resolve)
    say("dns local", host=await dead.resolve("broker.local", 1000))
    none = Resolver(lambda: ["0.0.0.0", ""], port)
    await attempt("dns none", "broker.test", 1, None, none.resolve)


async def main():
    await attempt("closed port", "127.0.0.1", SETTINGS["closed"])
    await attempt("silent tls", "localhost", SETTINGS["silent"], make_tls())
    await attempt("full backlog", "127.0.0.1", SETTINGS["full"])
    await attempt("listening", "127.0.0.1", SETTINGS["listening"])
    await attempt("plain answers tls", "localhost", SETTINGS["plain"], make_tls())
    await cancelled("cancelled", SETTINGS["silent"], make_tls())
    await others_run("others", SETTINGS["silent"], make_tls())
    scarce = Scarce(False)
    await attempt("scarce", "localhost", SETTINGS["silent"], make_tls(scarce))
    say("scarce asked", asked=scarce.asked)
    await names()
    meanings()
    memory_of_the_idf()
    memory_on_the_gc_heap()
    say("end")


asyncio.run(main())
