"""`tls` with what a port's Mbed TLS does otherwise than the VM's.

Where the port allocates from the GC heap (rp2), a connection holds the measured blocks there, the
16.7 kB one first, and a handshake that finds no room fails as the real one does: in disguise.
Ports without PEM refuse it.  Validity dates are checked against the chip's clock, which on a cold
board is years in the past, and not against the host's.
"""

import gc

from tls import *  # noqa: F403
from tls import SSLContext as _HostContext

from . import clock, der, power, shared

_BIGGEST = 16700
_HANDSHAKE_EXTRA = 5000
_ENOMEM = 12
_NO_ROOM = "\nThe certificate is not correctly signed by the trusted CA\n"


class SSLContext:
    def __init__(self, protocol):
        self._host = _HostContext(protocol)
        self._user_callback = None
        self._host.verify_callback = self._check_dates

    @property
    def verify_mode(self):
        return self._host.verify_mode

    @verify_mode.setter
    def verify_mode(self, mode):
        self._host.verify_mode = mode

    @property
    def verify_callback(self):
        return self._user_callback

    @verify_callback.setter
    def verify_callback(self, callback):
        self._user_callback = callback

    def get_ciphers(self):
        return self._host.get_ciphers()

    def set_ciphers(self, names):
        self._host.set_ciphers(names)

    def load_cert_chain(self, certfile, keyfile):
        _refuse_pem(certfile, "invalid cert")
        _refuse_pem(keyfile, "invalid key")
        self._host.load_cert_chain(certfile, keyfile)

    def load_verify_locations(self, cafile=None, cadata=None):
        data = cafile if cadata is None else cadata
        _refuse_pem(data, "invalid cert")
        self._host.load_verify_locations(data)

    def wrap_socket(
        self, sock, server_side=False, do_handshake_on_connect=True, server_hostname=None
    ):
        if shared.S.fast == clock.MODELLED:
            clock.skip(power.work(power.board.get("handshake_ms", 0)))
        if power.board["quirks"]["tls_in_gc_heap"]:
            sock.ballast = _claim()
        return self._host.wrap_socket(
            sock,
            server_side=server_side,
            do_handshake_on_connect=do_handshake_on_connect,
            server_hostname=server_hostname,
        )

    def _check_dates(self, certificate, depth):
        """ValueError from in here passes through the C code to whoever reads or writes.

        Called in the middle of the handshake, when it holds the most memory.
        """
        extra = _claim_handshake() if power.board["quirks"]["tls_in_gc_heap"] else None
        if not depth:
            shared.tell("handshake %d" % (gc.mem_alloc() - shared.own_heap))
        del extra
        if self._host.verify_mode != CERT_NONE:  # noqa: F405
            now = clock.rtc_ms() // 1000
            not_before, not_after = der.validity(certificate)
            if now < not_before:
                raise ValueError("\nThe certificate validity starts in the future\n")
            if now > not_after:
                raise ValueError("\nThe certificate validity has expired\n")
        return self._user_callback(certificate, depth) if self._user_callback else 0


def _refuse_pem(data, text):
    if not power.board["quirks"]["pem"] and bytes(data[:10]) == b"-----BEGIN":
        raise ValueError(text)


def _claim():
    scale = power.board["heap_scale"]
    rest = power.board["quirks"]["tls_heap_bytes"] - _BIGGEST
    try:
        return [bytearray(_BIGGEST * scale)] + [
            bytearray(1024 * scale) for _ in range(rest // 1024)
        ]
    except MemoryError:
        raise OSError(_ENOMEM)


def _claim_handshake():
    size = 1024 * power.board["heap_scale"]
    try:
        return [bytearray(size) for _ in range(_HANDSHAKE_EXTRA // 1024)]
    except MemoryError:
        raise ValueError(_NO_ROOM)
