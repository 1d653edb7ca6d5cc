"""TLS as the ports have it: heap, PEM, the cold clock.  Keys are made here and never kept."""

import datetime
import socket
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

JOIN = """
import network, socket, time, tls, gc
w = network.WLAN(0); w.active(True); w.connect('sim', 'simulated')
while not w.isconnected(): time.sleep_ms(20)
def connect(c):
    s = socket.socket(); s.connect(('127.0.0.1', PORT))
    return c.wrap_socket(s, server_hostname='localhost')
c = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
c.load_verify_locations(CA)
"""


def certificate(name, issuer=None, issuer_key=None, year=2000):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(year, 1, 1))
        .not_valid_after(datetime.datetime(2049, 1, 1))
        .add_extension(x509.BasicConstraints(issuer is None, None), True)
    )
    if issuer:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
    return builder.sign(issuer_key or key, hashes.SHA256()), key


@pytest.fixture
def server(tmp_path):
    """`server(year)` -> the program's first lines: PORT and CA of an echo server over TLS."""
    listeners = []

    def start(year=2000):
        ca, ca_key = certificate("ca")
        own, own_key = certificate("localhost", ca, ca_key, year)
        pem = own.public_bytes(serialization.Encoding.PEM) + own_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (tmp_path / "server.pem").write_bytes(pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "server.pem")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=serve, args=(listener, context), daemon=True).start()
        der = ca.public_bytes(serialization.Encoding.DER)
        return f"PORT = {listener.getsockname()[1]}\nCA = {der!r}\n"

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def serve(listener, context):
    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        try:
            with context.wrap_socket(peer, server_side=True) as link:
                while data := link.recv(1000):
                    link.sendall(data.upper())
        except OSError:  # refused or cut off by the board
            peer.close()


@pytest.mark.parametrize(
    ("name", "least", "most"), [("rpi_pico_w", 24_000, 29_000), ("esp32_generic", 0, 3_000)]
)
def test_a_connection_costs_the_heap_what_was_measured(boards, server, name, least, most):
    program = (
        server()
        + JOIN
        + """
gc.collect(); before = gc.mem_free()
x = connect(c); x.write(b'hello'); print('got', x.read(5))
gc.collect(); print('took', before - gc.mem_free())
x.close(); gc.collect(); print('left', before - gc.mem_free())
"""
    )
    board = boards(name, program, time="fast")
    board.wait_for("line:left")
    took, left = (int(line.split()[1]) for line in board.lines if line[:4] in ("took", "left"))
    scale = board.vm.heap_scale
    assert "got b'HELLO'" in board.lines
    assert least * scale <= took <= most * scale
    assert left < 2_000 * scale


def test_a_fragmented_heap_fails_as_the_pico_does(boards, server):
    """No single 16.7 kB block: ENOMEM, though more than that is free in all."""
    program = (
        server()
        + JOIN
        + """
hold = []
try:
    while True: hold.append(bytearray(1000))
except MemoryError:
    pass
for n in range(0, len(hold), 2): hold[n] = None
gc.collect(); print('free', gc.mem_free() > 30000)
try: connect(c)
except OSError as e: print('errno', e.errno)
"""
    )
    board = boards("rpi_pico_w", program, time="fast")
    board.wait_for("line:errno 12")
    assert "free True" in board.lines


@pytest.mark.parametrize(("name", "least"), [("rpi_pico_w", 48_000), ("esp32_generic", 0)])
def test_a_handshake_driven_by_writes_tells_what_it_holds(boards, server, name, least):
    """On a Pico W 5 kB more than a connection does (45,500 B here), for as long as it lasts."""
    program = (
        server()
        + JOIN
        + """
s = socket.socket(); s.connect(('127.0.0.1', PORT)); s.setblocking(False)
x = c.wrap_socket(s, server_hostname='localhost', do_handshake_on_connect=False)
while not x.write(b'hello'): pass
print('end')
"""
    )
    board = boards(name, program, time="fast")
    board.wait_for("line:end")
    (told,) = [int(event.detail) for event in board.events if event.name == "handshake"]
    assert told > least * board.vm.heap_scale


def test_a_cold_clock_refuses_a_certificate_of_today_but_not_a_backdated_one(boards, server):
    attempt = """
try: print('ok', connect(c) is not None)
except ValueError as e: print('refused', str(e).strip())
"""
    board = boards("rpi_pico_w", server(2024) + JOIN + attempt, time="fast")
    board.wait_for("line:refused The certificate validity starts in the future")
    board = boards("rpi_pico_w", server(2000) + JOIN + attempt, time="fast")
    board.wait_for("line:ok True")
    told = "import machine\nmachine.RTC().datetime((2026, 1, 1, 0, 0, 0, 0, 0))\n"
    board = boards("rpi_pico_w", server(2024) + JOIN + told + attempt, time="fast")
    board.wait_for("line:ok True")


def test_pem_is_refused_where_the_port_has_none(boards):
    program = """
import tls
c = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
try: c.load_verify_locations(b'-----BEGIN CERTIFICATE-----')
except ValueError as e: print('refused', e)
print('done')
"""
    board = boards("rpi_pico_w", program)
    board.wait_for("line:refused invalid cert")


def test_dates_beyond_2038_on_any_vm(boards):
    program = """
import time, machine
machine.RTC().datetime((2040, 2, 29, 0, 12, 34, 56, 0))
print(time.gmtime()[:6], time.mktime(time.gmtime(time.time())) == time.time())
"""
    for name in ("esp32_generic", "rpi_pico_w"):
        boards(name, program).wait_for("line:(2040, 2, 29, 12, 34, 56) True")
