"""`rp2`: what firmware of this family uses; no PIO, which nothing simulated would follow."""

from . import shared, start

_country = "XX"


def country(code=None):
    global _country
    if code is None:
        return _country
    _country = code
    return None


def bootsel_button():
    return shared.S.bootsel


def Flash(**_):
    return start.device
