"""Mutual TLS 1.2 for one link at a time: one context, made once and early.

Owns the context. Keys and certificates are DER: PEM parsing is not in the RP2 build. Whether a
handshake can be afforded is `hal.memory`'s to say, what an error means `hal.tls_codes`'s.
"""

import sys

import tls
from node.core.errors import LinkError

_CIPHERS = ["TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256", "TLS-ECDHE-ECDSA-WITH-AES-256-GCM-SHA384"]
# Boards have TLS 1.2 only. A build with 1.3 offers it whatever the ciphers, and a server that
# takes the offer finds none in common unless these are there.
_CIPHERS_13 = ["TLS1-3-AES-128-GCM-SHA256", "TLS1-3-AES-256-GCM-SHA384"]


class Tls:
    """`anchors` are the CA certificates to trust: two during a rotation. `memory` tells whether
    a handshake can be afforded (hal.memory)."""

    def __init__(self, cert: bytes, key: bytes, anchors, memory=None) -> None:
        context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        context.verify_mode = tls.CERT_REQUIRED
        try:
            context.set_ciphers(_CIPHERS + _CIPHERS_13)
        except (OSError, ValueError):  # as on every board: no TLS 1.3
            context.set_ciphers(_CIPHERS)
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
        from node.hal import tls_codes

        low = self._memory is not None and self._memory.low()
        return tls_codes.code_of(error, handshaking, low)


def memory_of_this_chip():
    """The check that fits where mbedTLS allocates here; None where memory is no question."""
    if sys.platform in ("rp2", "esp32"):
        from node.hal import memory

        return memory.of_this_chip()
    return None
