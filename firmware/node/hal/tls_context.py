"""Makes the TLS context of an identity: once at the start, and again when the identity changes.

Keys and certificates are DER: PEM parsing is not in the RP2 build. A private CA that is about to
be replaced lies in one file with its successor; each is an anchor.
"""

import tls
from node.core import certificate as certificates

_CIPHERS = ["TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256", "TLS-ECDHE-ECDSA-WITH-AES-256-GCM-SHA384"]
# Boards have TLS 1.2 only. A build with 1.3 offers it whatever the ciphers, and a server that
# takes the offer finds none in common unless these are there.
_CIPHERS_13 = ["TLS1-3-AES-128-GCM-SHA256", "TLS1-3-AES-256-GCM-SHA384"]


def context_of(certificate: bytes, key: bytes, anchors):
    """A client's context that shows `certificate` (if it is not empty) and trusts `anchors`.

    Raises ValueError or OSError for what mbedTLS does not take.
    """
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.verify_mode = tls.CERT_REQUIRED
    try:
        context.set_ciphers(_CIPHERS + _CIPHERS_13)
    except (OSError, ValueError):  # as on every board: no TLS 1.3
        context.set_ciphers(_CIPHERS)
    if certificate:
        context.load_cert_chain(certificate, key)
    for anchor in anchors:
        for one in certificates.split(anchor):
            context.load_verify_locations(one)
    return context
