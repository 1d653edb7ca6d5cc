"""Dates and seconds since 1970, in any year: the 32-bit VM's own stop in 2038.

Days from civil dates by counting years from 1 March, so that the leap day comes last.
"""

_DAYS_TO_1970 = 719468  # from 0000-03-01


def seconds(year, month, day, hour=0, minute=0, second=0):
    """Seconds since 1970; fields out of range carry over, as C's mktime does."""
    year += (month - 1) // 12
    month = (month - 1) % 12 + 1
    if month < 3:
        year -= 1
    days = year * 365 + year // 4 - year // 100 + year // 400
    days += (153 * ((month + 9) % 12) + 2) // 5 + day - 1 - _DAYS_TO_1970
    return ((days * 24 + hour) * 60 + minute) * 60 + second


def fields(at_s):
    """(year, month, day, hour, minute, second, weekday from Monday = 0, day of the year)."""
    days, rest = divmod(at_s, 86400)
    weekday = (days + 3) % 7
    days += _DAYS_TO_1970
    era, in_era = divmod(days, 146097)
    year_in_era = (in_era - in_era // 1460 + in_era // 36524 - in_era // 146096) // 365
    in_year = in_era - (365 * year_in_era + year_in_era // 4 - year_in_era // 100)
    from_march = (5 * in_year + 2) // 153
    day = in_year - (153 * from_march + 2) // 5 + 1
    month = from_march + 3 if from_march < 10 else from_march - 9
    year = era * 400 + year_in_era + (1 if month < 3 else 0)
    year_day = (seconds(year, month, day) - seconds(year, 1, 1)) // 86400 + 1
    return (year, month, day, rest // 3600, rest // 60 % 60, rest % 60, weekday, year_day)
