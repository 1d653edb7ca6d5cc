"""Mutual TLS 1.2 for one link at a time: one context, made once and early.

Owns the context; what it is made of is in `hal.tls_context`. Whether a handshake can be afforded
is `hal.memory`'s to say, what an error means `hal.tls_codes`'s.
"""

import sys

from node.core.errors import LinkError


class Tls:
    """`anchors` are the CA certificates to trust: two during a rotation. `memory` tells whether
    a handshake can be afforded (hal.memory)."""

    def __init__(self, cert: bytes, key: bytes, anchors, memory=None) -> None:
        from node.hal import tls_context

        self._context = tls_context.context_of(cert, key, anchors)
        self._memory = memory
        self.low_memory = 0
        if memory is not None:
            memory.hold()

    def use(self, context) -> None:
        """Another identity, from the next link on (a `tls_context.context_of`)."""
        self._context = context

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
