"""The two dates of an X.509 certificate (RFC 5280 section 4.1.2.5), in seconds since 1970."""

from . import civil

_UTC_TIME = 0x17


def validity(certificate):
    """-> (not before, not after)."""
    at = _into(certificate, _into(certificate, 0))  # Certificate, TBSCertificate
    if certificate[at] == 0xA0:  # version
        at = _after(certificate, at)
    for _ in range(3):  # serialNumber, signature, issuer
        at = _after(certificate, at)
    first = _into(certificate, at)
    return _seconds(certificate, first), _seconds(certificate, _after(certificate, first))


def _head(data, at):
    """-> (where the content starts, its length)."""
    length = data[at + 1]
    if length < 0x80:
        return at + 2, length
    size = length & 0x7F
    return at + 2 + size, int.from_bytes(bytes(data[at + 2 : at + 2 + size]), "big")


def _into(data, at):
    return _head(data, at)[0]


def _after(data, at):
    start, length = _head(data, at)
    return start + length


def _seconds(data, at):
    start, length = _head(data, at)
    text = bytes(data[start : start + length]).decode()
    if data[at] == _UTC_TIME:
        text = ("19" if text[0] >= "5" else "20") + text
    return civil.seconds(int(text[:4]), *[int(text[n : n + 2]) for n in range(4, 14, 2)])
