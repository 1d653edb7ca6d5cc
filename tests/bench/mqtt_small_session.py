"""The whole session (window, resends, keepalive) over a plain TLS socket, without the task that
reconnects and shares the loop. Names in capitals are filled in."""

import socket
import time

import tls


def read(name):
    with open(name, "rb") as file:
        return file.read()


context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
context.load_cert_chain(read("CERT"), read("KEY"))
context.load_verify_locations(read("CA"))
raw = socket.socket()
raw.connect(socket.getaddrinfo("127.0.0.1", "PORT")[0][-1])
sock = context.wrap_socket(raw, server_hostname="localhost")

from node.core.mqtt.codec import Options  # noqa: E402
from node.core.mqtt.session import ACKED, Session  # noqa: E402

options = Options("dev-1")
options.window_bytes = 512
options.max_packet = 128
options.few = True
session = Session(options)
topic = session.window.topic("v1/dev-1/up/telemetry")
buffer = bytearray(4)
left = missing = 10
session.connect(time.ticks_ms())
while missing:
    while left and session.window.publish(topic, bytes(66)):
        left -= 1
    count = session.output()
    while count:
        session.wrote(sock.write(memoryview(session.out)[session.out_at : session.out_at + count]))
        count = session.output()
    session.feed(buffer, sock.readinto(buffer))
    event = session.next_event()
    while event:
        missing -= event == ACKED
        event = session.next_event()
    session.tick(time.ticks_ms())
print("ten acknowledged")
