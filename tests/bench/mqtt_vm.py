"""Runs on the MicroPython VM: one measurement of one MQTT client, told by BENCH in the
environment (JSON), answered with one JSON line. See tests/bench/mqtt.py.

The floor is no client at all: one prepared packet per socket.write. A peer is any other client:
`peer` names a module and a function; function(host, port, tls context or None, client id)
returns an object with connect(), publish(topic, payload, qos), which waits for PUBACK, and
disconnect().
"""

import asyncio
import gc
import json
import os
import socket
import struct
import sys
import time

import micropython

BENCH = json.loads(os.getenv("BENCH"))
for folder in BENCH["path"]:
    sys.path.insert(0, folder)

TOPIC = "v1/dev-1/up/telemetry"
PAYLOAD = bytes(BENCH.get("size", 100))
CONNECT = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05dev-1"


def read(name):
    with open(name, "rb") as file:
        return file.read()


def tls_context():
    import tls

    given = BENCH["tls"]
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    if given["cert"]:
        context.load_cert_chain(read(given["cert"]), read(given["key"]))
    context.load_verify_locations(read(given["anchors"][0]))
    return context


def publish_packet(qos):
    name = TOPIC.encode()
    body = struct.pack(">H", len(name)) + name + (b"\0\1" if qos else b"") + PAYLOAD
    head = bytes([0x32 if qos else 0x30])
    if len(body) < 128:
        return head + bytes([len(body)]) + body
    return head + bytes([len(body) & 127 | 128, len(body) >> 7]) + body


class Floor:
    """Sockets and prepared bytes."""

    def __init__(self):
        self.context = tls_context() if BENCH.get("tls") else None

    def connect(self):
        address = socket.getaddrinfo("127.0.0.1", BENCH["port"])[0][-1]
        self.raw = self.sock = socket.socket()
        self.sock.connect(address)
        self.sock.setsockopt(6, 1, 1)
        if self.context:
            self.sock = self.context.wrap_socket(self.raw, server_hostname="localhost")
        self.sock.write(CONNECT)
        self.sock.readinto(bytearray(4))

    def rate(self, qos, window, count):
        sock = self.sock
        packet = publish_packet(qos)
        ack = bytearray(4)
        started = time.ticks_us()
        if qos:
            for _ in range(window):
                sock.write(packet)
            for _ in range(count - window):
                sock.readinto(ack)
                sock.write(packet)
            for _ in range(window):
                sock.readinto(ack)
        else:
            for _ in range(count):
                sock.write(packet)
            sock.write(publish_packet(1))  # the broker has all when it acknowledges this
            sock.readinto(ack)
        return time.ticks_diff(time.ticks_us(), started)

    def publish(self, qos):
        self.sock.write(publish_packet(qos))
        if qos:
            self.sock.readinto(bytearray(4))

    def disconnect(self):
        self.sock.write(b"\xe0\0")
        self.sock.close()
        self.raw.close()


class Peer:
    def __init__(self):
        module, function = BENCH["peer"].split(":")
        context = tls_context() if BENCH.get("tls") else None
        host = "localhost" if context else "127.0.0.1"
        self.client = getattr(__import__(module), function)(host, BENCH["port"], context, "dev-1")
        self.connect = self.client.connect
        self.disconnect = self.client.disconnect

    def rate(self, qos, window, count):
        started = time.ticks_us()
        for _ in range(count):
            self.client.publish(TOPIC, PAYLOAD, qos)
        return time.ticks_diff(time.ticks_us(), started)

    def publish(self, qos):
        self.client.publish(TOPIC, PAYLOAD, qos)


class Source:
    """Feeds the Connection as the outbox does."""

    def __init__(self, qos, count):
        self.qos = qos
        self.left = self.missing = count
        self.zero = not qos

    def pull(self, connection):
        while self.left and connection.publish("telemetry", PAYLOAD, self.qos):
            self.left -= 1
        if not self.left and not self.qos and self.missing:
            if connection.publish("telemetry", PAYLOAD, 1):
                self.qos = 1  # the broker has all when it acknowledges this

    def acked(self, token):
        self.missing -= self.missing if self.zero else 1


def our_connection(window=8):
    from node.core.mqtt.codec import Options
    from node.hal.link import Ports
    from node.tasks.connect import Config, Connection

    options = Options("dev-1")
    options.window = window
    options.window_bytes = BENCH.get("window_bytes", 4096)
    options.max_packet = BENCH.get("max_packet", 1024)
    tls = None
    if BENCH.get("tls"):
        from node.hal.tls import Tls

        given = BENCH["tls"]
        own = (read(given["cert"]), read(given["key"])) if given["cert"] else (b"", b"")
        tls = Tls(own[0], own[1], [read(given["anchors"][0])])
    host = "localhost" if tls else "127.0.0.1"
    return Connection(Config(host, BENCH["port"], options), Ports(tls))


async def connected(connection):
    task = asyncio.create_task(connection.run(lambda: None))
    while not connection.connected:
        if connection.fault:
            raise OSError(connection.fault)
        await asyncio.sleep_ms(1)
    return task


async def our_rate(qos, window, count):
    connection = our_connection(window)
    task = await connected(connection)
    source = Source(qos, count)
    connection.add_source(source)
    started = time.ticks_us()
    connection.kick()
    while source.missing:
        await asyncio.sleep_ms(1)
        connection.kick()
    took = time.ticks_diff(time.ticks_us(), started)
    await connection.stop()
    task.cancel()
    return took


async def our_wake():
    """Connect, one message, disconnect, as a device does that woke up to say one thing."""
    connection = our_connection()
    source = Source(1, 1)
    connection.add_source(source)
    started = time.ticks_us()
    task = asyncio.create_task(connection.run(lambda: None))
    while source.missing:
        await asyncio.sleep_ms(0)
    acked = time.ticks_diff(time.ticks_us(), started)
    await connection.stop()
    task.cancel()
    return acked


async def our_connect():
    connection = our_connection()
    started = time.ticks_us()
    task = asyncio.create_task(connection.run(lambda: None))
    while not connection.connected:
        await asyncio.sleep_ms(0)
    took = time.ticks_diff(time.ticks_us(), started)
    await connection.stop()
    task.cancel()
    return took


async def our_heap(qos, count):
    """Bytes of heap taken by `count` publishes, written and acknowledged; with the heap locked
    on top, where an allocation would raise."""
    connection = our_connection()
    task = await connected(connection)

    def once():
        connection.publish("telemetry", PAYLOAD, qos)
        while connection.session.window.count:
            connection._link.waiting(5)
            connection._turn()

    for _ in range(20):
        once()
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    for _ in range(count):
        once()
    used = gc.mem_alloc() - before
    gc.enable()
    locked = 1
    micropython.heap_lock()
    try:
        for _ in range(count):
            once()
    except MemoryError:
        locked = 0
    micropython.heap_unlock()
    await connection.stop()
    task.cancel()
    return [used / count, locked]


async def our_ten():
    connection = our_connection()
    source = Source(1, 10)
    connection.add_source(source)
    task = asyncio.create_task(connection.run(lambda: None))
    while source.missing:
        await asyncio.sleep_ms(5)
    await connection.stop()
    task.cancel()


def other_heap(client, qos, count):
    client.connect()
    for _ in range(5):
        client.publish(qos)
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    for _ in range(count):
        client.publish(qos)
    used = gc.mem_alloc() - before
    gc.enable()
    return [used / count, 0]


def other(client, what):
    qos = BENCH.get("qos", 1)
    count = BENCH.get("count", 10)
    if what == "heap":
        return other_heap(client, qos, count)
    started = time.ticks_us()
    client.connect()
    if what == "connect":
        took = time.ticks_diff(time.ticks_us(), started)
    elif what == "rate":
        took = client.rate(qos, BENCH["window"], count)
    else:
        for _ in range(10 if what == "ten" else 1):
            client.publish(1)
        took = time.ticks_diff(time.ticks_us(), started)
    client.disconnect()
    return took


def ours(what):
    if what == "rate":
        return asyncio.run(our_rate(BENCH["qos"], BENCH["window"], BENCH["count"]))
    if what == "heap":
        return asyncio.run(our_heap(BENCH["qos"], BENCH["count"]))
    return asyncio.run({"wake": our_wake, "connect": our_connect, "ten": our_ten}[what]())


def main():
    who = BENCH["who"]
    if who == "ours":
        result = ours(BENCH["what"])
    else:
        result = other(Floor() if who == "floor" else Peer(), BENCH["what"])
    print(json.dumps({"result": result}))


main()
