"""Times in any notation: as datetimes for events, as nanoseconds for the order of spans."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

from components.contracts import Json

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_S: Final = 631_152_000  # 1990-01-01: no log is older
LAST_S: Final = 4_102_444_800  # 2100-01-01
LONGEST_ISO: Final = 64
UNITS: Final = (1, 10**3, 10**6, 10**9)  # parts of a second: s, ms, us, ns; their ranges don't overlap

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")


def timestamp(value: Json) -> datetime | None:
    """The time that `value` holds: ISO 8601 with or without zone, or epoch s, ms, us or ns as int, float or string.

    An aware time comes back in UTC, a naive one stays naive. None for what is no time, or outside 1990-2100.

    >>> timestamp("2025-03-01T12:00:00.5+02:00")
    datetime.datetime(2025, 3, 1, 10, 0, 0, 500000, tzinfo=datetime.timezone.utc)
    >>> timestamp("1740823200000000000") == timestamp(1740823200.0) == timestamp(1740823200000)
    True
    >>> timestamp(12) is timestamp("soon") is None
    True
    """
    if isinstance(value, str):
        if value[4:5] == "-" and len(value) <= LONGEST_ISO:  # by far the most frequent
            try:
                return _plausible(datetime.fromisoformat(value))
            except (ValueError, OverflowError):
                return _from_iso(value)
        value = value.strip()
        return _from_number(value) if _NUMBER.fullmatch(value) else _from_iso(value)
    if isinstance(value, datetime):
        return _plausible(value)
    if isinstance(value, date):
        return _plausible(datetime(value.year, value.month, value.day))  # noqa: DTZ001 - the source's zone comes later
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return _from_number(value)


def _from_number(value: str | float) -> datetime | None:
    try:
        exact = int(value) if not isinstance(value, float) and "." not in str(value) else float(value)
    except (ValueError, OverflowError):
        return None
    for unit in UNITS:
        if FIRST_S * unit <= exact < LAST_S * unit:
            whole, rest = divmod(exact, unit)
            return (
                EPOCH + timedelta(seconds=int(whole), microseconds=int(rest * 1_000_000 // unit))
                if unit > 1
                else (EPOCH + timedelta(microseconds=round(exact * 1_000_000)))
            )
    return None


def _from_iso(value: str) -> datetime | None:
    if not 8 <= len(value) <= LONGEST_ISO:
        return None
    if value.endswith(" UTC"):
        value = value[:-4] + "Z"
    try:
        return _plausible(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        return None


def _plausible(when: datetime) -> datetime | None:
    if not 1990 <= when.year < 2100:
        return None
    zone = when.tzinfo
    return when if zone is None or zone is UTC else when.astimezone(UTC)


def nanoseconds(when: datetime | None) -> int | None:
    """A datetime as ns since 1970; a naive one is taken as UTC, for order alone.

    >>> nanoseconds(timestamp("2025-01-01T00:00:00.000001Z"))
    1735689600000001000
    """
    if when is None:
        return None
    since = when.replace(tzinfo=UTC) - EPOCH if when.tzinfo is None else when - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000


def nanoseconds_from_us(value: Json, *, allow_zero: bool = False) -> int | None:
    """A number of microseconds (a time since 1970, or a duration) as ns; None for anything else.

    >>> nanoseconds_from_us(2.5), nanoseconds_from_us(0), nanoseconds_from_us(0, allow_zero=True)
    (2000, None, 0)
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        return None
    return int(value) * 1_000 if value or allow_zero else None


def has_zone(when: datetime | None) -> bool:
    """False only for a time without a zone."""
    return when is None or when.tzinfo is not None
