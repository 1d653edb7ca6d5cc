"""What a device has to know of certificates beside using them: when its own ends, and which
authorities lie one behind the other in a file.

Owns the few steps through DER (X.690) and RFC 5280 section 4.1 that this takes; nothing is
verified here, TLS does that.
"""

_VERSION = b"\xa0"
_GENERALIZED = b"\x18"
_DAYS_BEFORE = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)


def _element(data: bytes, at: int) -> "tuple[int, int]":
    """(start, end) of the content of the element at `at`; ValueError when there is none."""
    if at + 2 > len(data):
        raise ValueError("der")
    size, start = data[at + 1], at + 2
    if size & 0x80:
        count = size & 0x7F
        size = int.from_bytes(data[start : start + count], "big")
        start += count
    if start + size > len(data):
        raise ValueError("der")
    return start, start + size


def split(authorities: bytes) -> "list[bytes]":
    """The certificates of a file that holds one or several; ValueError when it is cut off."""
    found = []
    at = 0
    while at < len(authorities):
        end = _element(authorities, at)[1]
        found.append(authorities[at:end])
        at = end
    return found


def not_after(certificate: bytes) -> int:
    """The last second it is good for (Unix time); ValueError when it cannot be told."""
    at = _element(certificate, _element(certificate, 0)[0])[0]
    fields = 4 if certificate[at : at + 1] == _VERSION else 3  # serial, algorithm, issuer
    for _ in range(fields):
        at = _element(certificate, at)[1]
    at = _element(certificate, at)[0]  # validity
    at = _element(certificate, at)[1]  # notBefore
    start, end = _element(certificate, at)
    return _unix_s(certificate[at : at + 1] == _GENERALIZED, certificate[start:end])


def _unix_s(generalized: bool, text: bytes) -> int:
    """UTCTime YYMMDDHHMMSSZ or GeneralizedTime YYYYMMDDHHMMSSZ (RFC 5280 section 4.1.2.5)."""
    if len(text) != (15 if generalized else 13) or text[-1:] != b"Z":
        raise ValueError("time")
    if not generalized:
        text = (b"19" if text >= b"5" else b"20") + text
    year, month = int(text[:4]), int(text[4:6])
    if not 1 <= month <= 12 or year < 1970:
        raise ValueError("time")
    leap_days = (year - 1969) // 4 - (year - 1901) // 100 + (year - 1601) // 400
    if month > 2 and year % 4 == 0 and (year % 100 or year % 400 == 0):
        leap_days += 1
    days = 365 * (year - 1970) + leap_days + _DAYS_BEFORE[month - 1] + int(text[6:8]) - 1
    return ((days * 24 + int(text[8:10])) * 60 + int(text[10:12])) * 60 + int(text[12:14])
