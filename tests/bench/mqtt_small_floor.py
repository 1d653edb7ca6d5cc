"""The least a program needs: a socket, TLS and prepared bytes. Names in capitals are filled in."""

import socket

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
sock.write(b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05dev-1")
ack = bytearray(4)
sock.readinto(ack)
for _ in range(10):
    sock.write(b"\x32\x5b\x00\x15v1/dev-1/up/telemetry\x00\x01" + bytes(66))
    sock.readinto(ack)
print("ten acknowledged")
