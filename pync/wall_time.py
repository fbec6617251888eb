"""Moments of the calendar as text, from nanoseconds since 1970 as `time.time_ns` gives them.

A module of its own, because messages and JSON lines both have them. It needs no `datetime`, which takes long to import.
Nothing here looks at a clock.
"""

from __future__ import annotations

import time

SECOND = 1_000_000_000


def rfc3339(moment: int) -> str:
    """`2026-11-29T04:21:57.123456Z`: in UTC, to the microsecond (RFC 3339)."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', _utc(moment))}.{moment % SECOND // 1000:06}Z"


def compact(moment: int) -> str:
    """`20261129T042157Z`: in UTC, to the second, for names of files (ISO 8601, the basic format)."""
    return time.strftime("%Y%m%dT%H%M%SZ", _utc(moment))


def of_day(moment: int) -> str:
    """`05:21:57.123`: the local time of day, to the millisecond."""
    return f"{time.strftime('%H:%M:%S', time.localtime(moment // SECOND))}.{moment % SECOND // 1_000_000:03}"


def _utc(moment: int) -> time.struct_time:
    return time.gmtime(moment // SECOND)
