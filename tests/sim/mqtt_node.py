"""Runs on the MicroPython VM: the real Connection, with a source of numbered messages.

In the environment, because an argument of more than 255 characters is fatal to the VM:
NODE_FIRMWARE, the folder to import from, and NODE_SETTINGS, JSON with
  host, port, tls {cert, key, anchors}, keepalive_s, ack_timeout_ms, open_timeout_ms, window,
  window_bytes, few, max_packet, version, clean, backoff_ms, backoff_cap_ms, stable_ms
  count, interval_ms (0: as fast as may be), size, qos: the messages; payload "<number> xxxx"
  dns: port of a name server to ask instead of the system's
  longest_pauses: no jitter; clock_jumps; will; stop: say DISCONNECT at the end
  subscribe: down/<suffix> to listen to; online: {"from": ms, "to": ms} without a network
  linger_ms: stay so long after all is acknowledged; expect: incoming messages to wait for
Prints one JSON object per line.
"""

import asyncio
import gc
import json
import os
import sys
import time

sys.path.insert(0, os.getenv("NODE_FIRMWARE"))
SETTINGS = json.loads(os.getenv("NODE_SETTINGS"))


class JumpingTime:
    """Stands in for the time module: the wall clock moves ten years this way and that."""

    def __getattr__(self, name):
        return getattr(time, name)

    def time(self):
        turn = time.ticks_ms() // 100 % 3
        return time.time() + 315360000 * (turn - 1)


if SETTINGS.get("clock_jumps"):
    sys.modules["time"] = JumpingTime()

from asyncio import core  # noqa: E402

from node.core.mqtt.codec import Options  # noqa: E402
from node.hal.link import Ports  # noqa: E402
from node.parts import facts  # noqa: E402
from node.tasks.connect import Config, Connection  # noqa: E402

_STARTED = time.ticks_ms()
_skipped_ms = 0


def ticks_ms():
    return time.ticks_ms() + _skipped_ms


def now_ms():
    return ticks_ms() - _STARTED


def say(event, **fields):
    fields["event"] = event
    fields["ms"] = now_ms()
    print(json.dumps(fields))


class Log:
    def warning(self, text):
        say("fault", code=text.split(" ")[1], text=text)


class Source:
    """Messages 0 to count-1, each sent again by nobody but the session."""

    def __init__(self, settings):
        self.count = settings.get("count", 0)
        self.interval_ms = settings.get("interval_ms", 0)
        self.size = settings.get("size", 32)
        self.qos = settings.get("qos", 1)
        self.next = 0
        self.seen = bytearray(self.count)
        self.acks = 0
        self.gap_ms = 0
        self._last_ms = -1
        self._first_ms = -1

    def due(self):
        if not self.interval_ms:
            return self.count
        if self._first_ms < 0:
            self._first_ms = now_ms()
        return min(self.count, 1 + (now_ms() - self._first_ms) // self.interval_ms)

    def pull(self, connection):
        while self.next < self.due():
            text = b"%d " % self.next
            payload = text + b"x" * (self.size - len(text))
            if not connection.publish("telemetry", payload, self.qos, False, self.next):
                return
            self.next += 1
            if self._last_ms < 0:
                self._last_ms = now_ms()
            if not self.qos:
                self.acked(self.next - 1)

    def acked(self, token):
        self.seen[token] = 1
        self.acks += 1
        ms = now_ms()
        if self._last_ms >= 0:
            self.gap_ms = max(self.gap_ms, ms - self._last_ms)
        self._last_ms = ms


def connection_of(settings):
    options = Options("dev-1")
    for name in ("keepalive_s", "ack_timeout_ms", "connack_timeout_ms", "window", "window_bytes",
                 "max_packet", "version", "clean", "few"):  # fmt: skip
        if name in settings:
            setattr(options, name, settings[name])
    if settings.get("will"):
        options.will = ("v1/dev-1/up/status", b"gone", 1, True)
    config = Config(settings["host"], settings["port"], options)
    for name in ("open_timeout_ms", "backoff_ms", "backoff_cap_ms", "stable_ms"):
        if name in settings:
            setattr(config, name, settings[name])
    return Connection(config, ports_of(settings), Log())


def ports_of(settings):
    tls = None
    if settings.get("tls"):
        from node.hal.tls import Tls

        given = settings["tls"]
        anchors = [read(name) for name in given["anchors"]]
        cert = read(given["cert"]) if given.get("cert") else b""
        tls = Tls(cert, read(given["key"]) if cert else b"", anchors)
    online = None
    if settings.get("online"):
        gap = settings["online"]
        skip_time(gap)

        def online():
            return not gap["from"] <= now_ms() < gap["to"]

    ports = Ports(tls, None, online, resolver_of(settings))
    ports.ticks_ms = ticks_ms
    if settings.get("longest_pauses"):  # the ceiling itself, to see it grow
        ports.below = lambda limit: limit - 1
    return ports


def resolver_of(settings):
    if not settings.get("dns"):
        return None
    from node.hal.resolve import Resolver

    return Resolver(lambda: ["127.0.0.1"], settings["dns"]).resolve


def read(name):
    with open(name, "rb") as file:
        return file.read()


async def heap():
    """What is in use, once what is on its way is done: the least of a few looks."""
    found = []
    for _ in range(4):
        gc.collect()
        found.append(gc.mem_alloc())
        await asyncio.sleep_ms(15)
    return min(found)


def load_what_is_loaded_once(settings):
    """At the first fault, subscription or TLS error: no leak, so it is there from the start."""
    from node.core.mqtt import inbound  # noqa: F401

    if settings.get("tls"):
        from node.hal import tls_codes  # noqa: F401


async def main(settings):
    load_what_is_loaded_once(settings)
    connection = connection_of(settings)
    source = Source(settings)
    messages = []

    def handler(payload):
        messages.append(len(payload))
        say("message", size=len(payload), start=bytes(payload[:32]).decode())

    if settings.get("subscribe"):
        connection.subscribe(settings["subscribe"], handler)
    connection.add_source(source)
    task = asyncio.create_task(connection.run(lambda: None))
    await all_done(connection, source, messages, settings)
    await asyncio.sleep_ms(settings.get("linger_ms", 250))
    # fmt: off
    say("done", acked=source.acks, missing=source.count - sum(source.seen), heap=await heap(),
        gap_ms=source.gap_ms, fault=connection.fault, counters=facts.mqtt(connection),
        windows=[name for name in ("few", "window") if "node.core.mqtt." + name in sys.modules])
    # fmt: on
    if settings.get("stop", True):
        await connection.stop()
        say("stopped")
    task.cancel()


async def all_done(connection, source, messages, settings):
    seen = 0
    idle = 0
    expect = settings.get("expect", 0)
    while source.acks < source.count or len(messages) < expect or not connection.idle():
        if connection.connects > seen:
            seen = connection.connects
            say("connected", number=seen, present=connection.session.present)
        if not idle and source.acks > 3 and connection.idle():
            idle = 1
            say("idle", heap=await heap())
        if connection.connected:
            connection.kick()
        away = "online" in settings and not connection.connected
        await asyncio.sleep_ms(1000 if away else 5)


def skip_time(gap):
    """Make asyncio leap over the waiting in the (virtual) time in which there is no network."""
    wait = core.IOQueue.wait_io_event

    def leap(queue, dt):
        global _skipped_ms
        if dt > 0 and gap["from"] <= now_ms() < gap["to"]:
            _skipped_ms += dt
            dt = 0
        wait(queue, dt)

    core.ticks = ticks_ms
    core.IOQueue.wait_io_event = leap


asyncio.run(main(SETTINGS))
