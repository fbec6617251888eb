"""The wall around sessions: what is one line, what is a traceback, and that the same bug is not repeated."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pync.errors import PeerLost
from pync.events import Address, Event
from pync.listener_events import SessionCrashed, SessionFailed
from pync.sessions.wall import MOST, SHORTAGES, Wall, trace

PEER = Address(host="192.0.2.1", port=7)


def raised(error: Exception) -> Exception:
    """The error with a place that it came from."""
    try:
        raise error
    except type(error) as caught:
        return caught


def reported(*errors: Exception) -> list[Event]:
    events: list[Event] = []
    wall = Wall(events.append)
    for error in errors:
        wall.report(PEER, error)
    return events


def test_a_failure_that_pync_knows_is_reported_as_it_is() -> None:
    error = PeerLost("connection to 192.0.2.1:7", "Connection reset by peer")
    assert reported(error) == [SessionFailed(peer=PEER, error=error)]


@pytest.mark.parametrize("code", SHORTAGES)
def test_a_shortage_of_the_system_is_one_line(code: int) -> None:
    (event,) = reported(OSError(code, os.strerror(code)))
    assert isinstance(event, SessionFailed)
    assert str(event.error) == f"session of 192.0.2.1:7: {os.strerror(code)}"


def test_a_lack_of_memory_is_one_line() -> None:
    (event,) = reported(MemoryError())
    assert isinstance(event, SessionFailed)
    assert str(event.error) == "session of 192.0.2.1:7: out of memory"


def test_any_other_error_is_a_bug_with_the_places_that_it_came_through_the_innermost_first() -> None:
    def inner() -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    with pytest.raises(OSError, match="Bad file") as caught:
        inner()
    (event,) = reported(caught.value)
    assert isinstance(event, SessionCrashed)
    first, *places = event.trace.split(", from ")
    assert first == "OSError: [Errno 9] Bad file descriptor"
    assert ["inner" in places[0], "test_any_other" in places[-1]] == [True, True]


def test_the_same_bug_is_counted_and_another_one_begins_anew() -> None:
    first, second = (raised(error) for error in (LookupError("a"), ValueError("b")))
    events = reported(*[first] * 9, second, *[first] * 200)
    assert [event.times for event in events if isinstance(event, SessionCrashed)] == [1, 1, 10, 100]


@given(st.lists(st.integers(0, 3 * MOST), max_size=5 * MOST))
def test_however_many_bugs_there_are_what_is_remembered_of_them_is_bounded(kinds: list[int]) -> None:
    wall = Wall(lambda event: None)
    for kind in kinds:
        wall.report(PEER, type(f"Error{kind}", (Exception,), {})())
    assert len(wall._times) <= MOST + 1


def test_an_error_without_a_traceback_has_a_trace() -> None:
    assert trace(ValueError("odd")) == "ValueError: odd"
