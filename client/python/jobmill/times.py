"""Times and durations between Python and the protocol: RFC 3339 in UTC, whole milliseconds."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Union

Time = Union[datetime, str]
Duration = Union[timedelta, int, float]

RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:[Zz]|([+-]\d\d:\d\d))")


def format_time(value: Time) -> str:
    """An aware datetime as RFC 3339 in UTC, cut to milliseconds; a string as it is. A datetime
    without a timezone is a ValueError: it could mean anything."""
    if isinstance(value, str):
        return value
    if value.tzinfo is None:
        raise ValueError(f"{value!r} has no timezone; use datetime.now(timezone.utc) or .astimezone()")
    return value.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def parse_time(text: str) -> datetime:
    """RFC 3339 with any offset and any fraction (cut to microseconds), as an aware datetime in UTC."""
    found = RFC3339.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a time in the form of RFC 3339")
    day, clock, fraction, offset = found.groups()
    micros = ((fraction or "") + "000000")[:6]
    return datetime.fromisoformat(f"{day}T{clock}.{micros}{offset or '+00:00'}").astimezone(
        timezone.utc)


def to_ms(value: Duration) -> int:
    """A timedelta, or a number of seconds, as whole milliseconds; never 0 for what is more."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{value!r} is neither a timedelta nor a number of seconds")
    return 1 if 0 < seconds < 0.001 else round(seconds * 1000)


def from_ms(value: int) -> timedelta:
    return timedelta(milliseconds=value)
