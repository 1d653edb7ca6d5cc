"""Serial numbers: `<product>-<yyww>-<nnnnnn>-<c>`, which is also the device id and the
certificate's common name.

Owns the format and its check character: Luhn mod 36 over every letter and digit before it, which
finds each single wrong character and each swap of neighbours but 0 with z. The number is unique
per product; year and ISO week are for people.
"""

import datetime
import re

from outpost.errors import ExitCode, OutpostError

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_FORM = re.compile(r"([a-z0-9-]{1,40})-(\d{4})-(\d{6})-([a-z0-9])")
NUMBER_MAX = 999_999
ALL = (1, NUMBER_MAX)


def device_id(product: str, number: int, day: datetime.date) -> str:
    """The id of unit `number` of `product` made on `day`."""
    if not 0 < number <= NUMBER_MAX:
        raise OutpostError(
            "serials-used-up", f"there is no serial number {number}", None, ExitCode.FAILED
        )
    year, week, _ = day.isocalendar()
    stem = f"{product.replace('_', '-')}-{year % 100:02}{week:02}-{number:06}"
    return f"{stem}-{check_character(stem)}"


def check_character(stem: str) -> str:
    """Luhn mod 36 (ISO/IEC 7812-1 annex B, with 36 symbols)."""
    total = 0
    for place, character in enumerate(reversed([c for c in stem if c in _ALPHABET])):
        value = _ALPHABET.index(character)
        doubled = value * 2 if place % 2 == 0 else value
        total += doubled // 36 + doubled % 36
    return _ALPHABET[-total % 36]


def check(text: str) -> str:
    """`text` as a device id; OutpostError when it is not one, or was mistyped."""
    lowered = text.strip().lower()
    form = _FORM.fullmatch(lowered)
    if not form:
        raise OutpostError(
            "serial-form",
            f"{text!r} is no serial number",
            "e.g. weather-2647-000001-x",
            ExitCode.USAGE,
        )
    if check_character(lowered[:-2]) != form[4]:
        fix = "read it again from the label"
        raise OutpostError(
            "serial-check", f"the check character of {text!r} is wrong", fix, ExitCode.USAGE
        )
    return lowered
