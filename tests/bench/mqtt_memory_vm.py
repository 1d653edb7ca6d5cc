"""Runs on the MicroPython VM: the Connection's heap at rest, connected, at its peak, and the
largest free block before and after a day's traffic (a message each half minute, of any length,
commands in between, a reconnect every hour). BENCH in the environment as for mqtt_vm.py."""

import asyncio
import gc
import json
import os
import sys

BENCH = json.loads(os.getenv("BENCH"))
for folder in BENCH["path"]:
    sys.path.insert(0, folder)

from node.core.mqtt.codec import Options  # noqa: E402
from node.hal.link import Ports  # noqa: E402
from node.hal.tls import Tls  # noqa: E402
from node.tasks.connect import Config, Connection  # noqa: E402

MESSAGES = 2880
HOUR = 120


def read(name):
    with open(name, "rb") as file:
        return file.read()


def used():
    gc.collect()
    return gc.mem_alloc()


def largest_free():
    gc.collect()
    low, high = 0, gc.mem_free()
    while high - low > 64:
        middle = (low + high) // 2
        try:
            bytearray(middle)
            low = middle
        except MemoryError:
            high = middle
    return low


async def largest_of_three():
    """The collector is conservative: a stray word on the stack keeps an object in one look, not in
    three with other work in between. What fragments for good is in all of them."""
    best = 0
    for _ in range(3):
        best = max(best, largest_free())
        await asyncio.sleep_ms(5)
    return best


class Day:
    """A day's messages as fast as they go."""

    def __init__(self):
        self.next = self.acks = 0
        self.until = 0
        self.payload = bytes(700)
        self.commands = 0

    def pull(self, connection):
        while self.next < self.until:
            size = 20 + self.next * 37 % 600
            if not connection.publish("telemetry", self.payload[:size], 1, False, self.next):
                return
            self.next += 1

    def acked(self, token):
        self.acks += 1

    def command(self, payload):
        self.commands += len(bytes(payload)) > 0


async def hours(connection, day):
    found = []
    while day.next < MESSAGES:
        day.until += HOUR
        while day.acks < day.until:
            connection.kick()
            await asyncio.sleep_ms(2)
        # Between two links, when a handshake needs its block. While connected, the one object
        # that waits for the socket may lie anywhere.
        await connection.pause()
        found.append(await largest_of_three())
        connection.resume()
        while not connection.connected:
            await asyncio.sleep_ms(5)
    return found


async def main():
    given = BENCH["tls"]
    before = used()
    tls = Tls(read(given["cert"]), read(given["key"]), [read(given["anchors"][0])])
    options = Options("dev-1")
    connection = Connection(Config("localhost", BENCH["port"], options), Ports(tls))
    day = Day()
    connection.subscribe("command", day.command)
    connection.add_source(day)
    idle = used()
    task = asyncio.create_task(connection.run(lambda: None))
    peak = 0
    while not connection.connected:
        peak = max(peak, gc.mem_alloc())
        await asyncio.sleep_ms(0)
    await asyncio.sleep_ms(300)
    connected = used()
    found = await hours(connection, day)
    await asyncio.sleep_ms(300)
    after = used()
    await connection.stop()
    task.cancel()
    result = [before, idle, connected, max(peak, connected), after, found]
    print(json.dumps({"result": result}))


asyncio.run(main())
