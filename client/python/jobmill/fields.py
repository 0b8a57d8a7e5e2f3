"""The options of a submit, from Python's types to the members of the protocol."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Dict, Iterable, Mapping, Optional, Union
from urllib.parse import quote, urlencode

from .times import Duration, Time, format_time, to_ms

# In Python: a timedelta or seconds; in the protocol: milliseconds, and named so.
DURATIONS = ("delay", "timeout", "grace", "retain", "retain_failed")
TIMES = ("run_at", "expires_at", "created_after", "created_before")
# "args": null and no args are the same to a submit, but not to a patch.
NULLABLE = ("args",)


def to_members(options: Mapping[str, Any], keeps_none: bool = False) -> Dict[str, Any]:
    """The members for options; None means not given, or null with `keeps_none`. What is not known
    here is passed on, and it is for the broker to refuse."""
    members: Dict[str, Any] = {}
    for name, value in options.items():
        if value is None:
            if keeps_none or name in NULLABLE:
                members[f"{name}_ms" if name in DURATIONS else name] = None
        elif name in DURATIONS:
            members[f"{name}_ms"] = to_ms(value)
        elif name in TIMES:
            members[name] = format_time(value)
        elif name == "tags":
            members[name] = list_of_str(name, value)
        elif name == "defaults":
            members[name] = to_members(value, keeps_none)
        elif isinstance(value, Mapping) and name != "args":
            members[name] = dict(value)
        else:
            members[name] = value
    return members


def list_of_str(name: str, value: Iterable[str]) -> list[str]:
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{name} is {value!r}; it has to be several strings, as in [{value!r}]")
    return list(value)


def backoff(kind: str = "exponential", base: Optional[Duration] = None,
            factor: Optional[float] = None, ceiling: Optional[Duration] = None,
            jitter: Optional[float] = None) -> Dict[str, Any]:
    """The pauses between attempts, for submit(backoff=…). kind: "exponential" or "fixed"; base and
    ceiling: a timedelta or seconds; factor 1…100; jitter 0…1. None: the broker's default."""
    members = {"kind": kind, "base_ms": None if base is None else to_ms(base), "factor": factor,
               "ceiling_ms": None if ceiling is None else to_ms(ceiling), "jitter": jitter}
    return {name: value for name, value in members.items() if value is not None}


def unique(key: Optional[str] = None, args: Optional[Iterable[str]] = None,
           while_: Optional[str] = None, period: Optional[Duration] = None,
           on_conflict: Optional[str] = None) -> Dict[str, Any]:
    """Which other jobs count as the same, for submit(unique=…).

    key          one of your own; otherwise task, queue and args
    args         the names of those args that count; None: all of them
    while_       "queued", "unfinished" (default) or "period"
    period       how long, with "period" only, which is then implied: a timedelta or seconds
    on_conflict  "existing" (default): the other job is the answer, see Job.is_existing;
                 "reject": UniqueConflict; "replace": the other is cancelled unless it runs
    """
    members = {"key": key, "args": None if args is None else list_of_str("args", args),
               "while": while_ or ("period" if period is not None else None),
               "period_ms": None if period is None else to_ms(period), "on_conflict": on_conflict}
    return {name: value for name, value in members.items() if value is not None}


def rate(limit: int, period: Duration) -> Dict[str, Any]:
    """`limit` jobs in each `period` (a timedelta or seconds), for queues.configure(rate=…)."""
    return {"limit": limit, "period_ms": to_ms(period)}


def to_json(value: Any) -> bytes:
    """ValueError or TypeError for what JSON cannot say (NaN, bytes, half a surrogate)."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def to_query(parameters: Mapping[str, Any]) -> str:
    """"?a=b&c=d", without what is None; several values are joined by commas."""
    pairs = {name: to_text(value) for name, value in parameters.items() if value is not None}
    return "?" + urlencode(pairs, safe=",:") if pairs else ""


def to_text(value: Union[str, datetime, bool, float, Iterable[str]]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, datetime)):
        return format_time(value)
    if isinstance(value, (int, float)):
        return f"{value:.3f}" if isinstance(value, float) else str(value)
    return ",".join(value)


def in_path(part: str) -> str:
    """A job's id or a name as a segment of a path; "" would be another path."""
    if not isinstance(part, str) or part in ("", ".", ".."):
        raise ValueError(f"{part!r} is no id and no name")
    return quote(part, safe="")


__all__ = ["Duration", "Time", "backoff", "rate", "unique"]
