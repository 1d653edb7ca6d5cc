"""What an error of mbedTLS means, as a stable code. Loaded when there is one.

Under low memory mbedTLS says "not correctly signed by the trusted CA", so that is believed only
while memory is plentiful: nobody may throw an identity away for it.
"""

from micropython import const

_EPIPE = const(32)
_ECONNRESET = const(104)
_ALERT = const(-30592)
_NO_ANCHOR = const(-30336)
_ENOMEM = const(12)
_NOT_SIGNED = "not correctly signed"
_TEXTS = (
    ("has expired", "cert_expired"),
    ("in the future", "cert_future"),
    ("does not match", "cert_name"),
    (_NOT_SIGNED, "cert_untrusted"),
)


def code_of(error: Exception, handshaking: bool, low_memory: bool) -> str:
    """`handshaking`: nothing has been received yet; `low_memory`: as it is now."""
    number = error.args[0] if error.args else 0
    if isinstance(error, MemoryError) or number == _ENOMEM:
        return "tls_memory"
    if isinstance(error, ValueError):
        return _of_text(str(number), low_memory)
    if not handshaking:
        return "lost"
    if number in (_EPIPE, _ECONNRESET, _ALERT):
        return "tls_refused"  # an alert about us, or a drop: TLS 1.2 cannot tell
    if number == _NO_ANCHOR:
        return "tls_no_anchor"
    return "tls_failed"


def _of_text(text: str, low_memory: bool) -> str:
    for part, code in _TEXTS:
        if part in text:
            return "tls_memory" if part == _NOT_SIGNED and low_memory else code
    return "tls_failed"
