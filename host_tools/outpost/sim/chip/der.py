"""The two dates of an X.509 certificate (RFC 5280 section 4.1.2.5), in seconds since 1970."""

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
    month, day, hour, minute, second = [int(text[n : n + 2]) for n in range(4, 14, 2)]
    return _days(int(text[:4]), month, day) * 86400 + hour * 3600 + minute * 60 + second


def _days(year, month, day):
    """Days since 1970 of a Gregorian date. The host's mktime ends in 2038 where time_t is 32 bits."""
    year -= month <= 2
    of_era = year % 400
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return year // 400 * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
