"""Moments of the calendar as text."""

from __future__ import annotations

import datetime
import time

from hypothesis import given
from hypothesis import strategies as st

from pync.wall_time import SECOND, compact, of_day, rfc3339

MOMENT = 1_795_926_117 * SECOND + 123_456_789  # 2026-11-29T04:21:57Z


def test_a_moment_in_each_form() -> None:
    assert rfc3339(MOMENT) == "2026-11-29T04:21:57.123456Z"
    assert compact(MOMENT) == "20261129T042157Z"
    assert of_day(MOMENT) == time.strftime("%H:%M:%S", time.localtime(MOMENT // SECOND)) + ".123"


@given(st.datetimes(min_value=datetime.datetime(1970, 1, 1), max_value=datetime.datetime(9999, 12, 31)))
def test_the_time_is_that_of_other_libraries(when: datetime.datetime) -> None:
    utc = when.replace(tzinfo=datetime.UTC)
    seconds = (utc - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(microseconds=1)
    text = rfc3339(seconds * 1000)
    assert datetime.datetime.fromisoformat(text) == utc
    assert len(text) == len("2026-11-29T04:21:57.123456Z")
