"""Mutual TLS 1.2 for one link at a time: one context, made once and early.

Owns the context, the memory check before a handshake, and the meaning of TLS errors. Keys and
certificates are DER: PEM parsing is not in the RP2 build. mbedTLS needs one block of 16.7 kB
(its input record) and about 31 kB in all; under low memory it reports "not correctly signed by
the trusted CA", so that message is believed only while memory is plentiful.
"""

import gc
import sys

import tls
from micropython import const
from node.core.errors import LinkError

_CIPHERS = ("TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256", "TLS-ECDHE-ECDSA-WITH-AES-256-GCM-SHA384")
# Boards have TLS 1.2 only. A build with 1.3 offers it whatever the ciphers, and a server that
# takes the offer finds none in common unless these are there.
_CIPHERS_13 = ("TLS1-3-AES-128-GCM-SHA256", "TLS1-3-AES-256-GCM-SHA384")
_RECORD_BYTES = const(17000)
_HANDSHAKE_BYTES = const(34000)
_EPIPE = const(32)
_ECONNRESET = const(104)
_ENOMEM = const(12)
_ALERT = const(-30592)
_NO_ANCHOR = const(-30336)
_NOT_SIGNED = "not correctly signed"
_TEXTS = (
    ("has expired", "cert_expired"),
    ("in the future", "cert_future"),
    ("does not match", "cert_name"),
    (_NOT_SIGNED, "cert_untrusted"),
)


class Tls:
    """`anchors` are the CA certificates to trust: two during a rotation. `memory` tells whether
    a handshake can be afforded (see the classes below)."""

    def __init__(self, cert: bytes, key: bytes, anchors, memory=None) -> None:
        context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        context.verify_mode = tls.CERT_REQUIRED
        context.set_ciphers(_pinned(context.get_ciphers()))
        if cert:
            context.load_cert_chain(cert, key)
        for anchor in anchors:
            context.load_verify_locations(anchor)
        self._context = context
        self._memory = memory
        self.low_memory = 0
        if memory is not None:
            memory.hold()

    def ready(self) -> None:
        """Make room for a handshake, or raise LinkError("tls_memory")."""
        if self._memory is not None and not self._memory.release():
            self.low_memory += 1
            self._memory.hold()
            raise LinkError("tls_memory")

    def wrap(self, sock, host: str):
        """A TLS stream over a connected, non-blocking socket. No byte is exchanged yet."""
        try:
            return self._context.wrap_socket(
                sock, server_hostname=host, do_handshake_on_connect=False
            )
        except (ValueError, OSError, MemoryError) as error:
            raise LinkError(self.code_of(error, True), error.args[0] if error.args else None)

    def closed(self) -> None:
        """The link is closed: claim its memory before anything else fragments it."""
        if self._memory is not None:
            self._memory.hold()

    def code_of(self, error: Exception, handshaking: bool) -> str:
        """A stable code for what mbedTLS raised."""
        if isinstance(error, MemoryError) or error.args and error.args[0] == _ENOMEM:
            return "tls_memory"
        if isinstance(error, ValueError):
            return self._of_text(str(error.args[0]))
        if not handshaking:
            return "lost"
        number = error.args[0] if error.args else 0
        if number in (_EPIPE, _ECONNRESET, _ALERT):
            return "tls_refused"  # an alert about us, or a drop: TLS 1.2 cannot tell
        if number == _NO_ANCHOR:
            return "tls_no_anchor"
        return "tls_failed"

    def _of_text(self, text: str) -> str:
        for part, code in _TEXTS:
            if part in text:
                if part == _NOT_SIGNED and self._memory is not None and self._memory.low():
                    return "tls_memory"
                return code
        return "tls_failed"


def _pinned(available) -> list:
    return [name for name in _CIPHERS + _CIPHERS_13 if name in available]


class GcMemory:
    """RP2: mbedTLS allocates on the GC heap. One block of a record's size is held from early on
    and let go just before a handshake, so that it is still in one piece then."""

    def __init__(self, record_bytes: int = _RECORD_BYTES, need: int = _HANDSHAKE_BYTES) -> None:
        self._record_bytes = record_bytes
        self._need = need
        self._held = None

    def hold(self) -> None:
        if self._held is None:
            try:
                self._held = bytearray(self._record_bytes)
            except MemoryError:
                pass  # a session still has it, or it is scattered: release() will tell

    def release(self) -> bool:
        """One collection; then whether a record's block and the rest of a handshake fit."""
        if self._held is None:
            self.hold()
        had = self._held is not None
        self._held = None
        gc.collect()
        return had and gc.mem_free() >= self._need

    def low(self) -> bool:
        return gc.mem_free() < self._need // 4


class IdfMemory:
    """ESP32: mbedTLS allocates on the IDF's heap, which Python can only ask about."""

    def __init__(self, regions) -> None:
        """`regions()` is esp32.idf_heap_info(esp32.HEAP_DATA): (total, free, largest, least)."""
        self._regions = regions

    def hold(self) -> None:
        pass

    def release(self) -> bool:
        gc.collect()
        return self._fits(_RECORD_BYTES, _HANDSHAKE_BYTES)

    def low(self) -> bool:
        return not self._fits(2048, 8192)

    def _fits(self, block: int, total: int) -> bool:
        largest = free = 0
        for region in self._regions():
            free += region[1]
            largest = max(largest, region[2])
        return largest >= block and free >= total


def memory_of_this_chip():
    """The check that fits where mbedTLS allocates here; None where memory is no question."""
    if sys.platform == "rp2":
        return GcMemory()
    if sys.platform == "esp32":
        import esp32

        if hasattr(esp32, "idf_heap_info"):
            return IdfMemory(lambda: esp32.idf_heap_info(esp32.HEAP_DATA))
    return None
